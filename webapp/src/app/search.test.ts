import { expect, it } from 'vitest'
import { listSearch, parseSearch, stringifySearch } from './search'

it('keeps words as words', () => {
  expect(parseSearch('?version=17&open=true&q=a%20b')).toEqual({ version: '17', open: 'true', q: 'a b' })
  expect(stringifySearch({ version: '17', q: 'a b', cursor: undefined, sort: '' })).toBe('?version=17&q=a+b')
  expect(stringifySearch({})).toBe('')
})

it('drops what a list does not know', () => {
  const validate = listSearch('state')
  expect(validate({ state: 'failed', q: 'x', evil: '1', limit: 5 })).toEqual({ state: 'failed', q: 'x' })
})
