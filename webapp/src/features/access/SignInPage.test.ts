import { expect, it } from 'vitest'
import { safePath } from './SignInPage'

it('goes back only to places of our own', () => {
  expect(safePath('/instances?status=crashed')).toBe('/instances?status=crashed')
  expect(safePath('//evil.example')).toBe('/')
  expect(safePath('/\\evil.example')).toBe('/')
  expect(safePath('https://evil.example')).toBe('/')
  expect(safePath('/sign-in?to=/')).toBe('/')
  expect(safePath(undefined)).toBe('/')
})
