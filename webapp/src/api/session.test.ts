import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { sessionFetch, whenSignedOut } from './session'

let refreshes = 0
let valid = false
let refreshWorks = true

beforeEach(() => {
  refreshes = 0
  valid = false
  refreshWorks = true
  localStorage.clear()
  vi.stubGlobal('fetch', async (input: Request | string) => {
    const url = typeof input === 'string' ? input : input.url
    await Promise.resolve()
    if (url.endsWith('/sessions/refresh')) {
      refreshes += 1
      valid = refreshWorks
      return new Response(null, { status: refreshWorks ? 200 : 401 })
    }
    return new Response('{}', { status: valid ? 200 : 401 })
  })
})
afterEach(() => vi.unstubAllGlobals())

const request = () => new Request('http://localhost/api/v1/hosts')

it('renews the session once for all requests that wait for it', async () => {
  const answers = await Promise.all([sessionFetch(request()), sessionFetch(request()), sessionFetch(request())])
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200])
  expect(refreshes).toBe(1)
})

it('does not refresh when another tab has just done it', async () => {
  const answer = sessionFetch(request())
  localStorage.setItem('pgdrover-refreshed', String(Date.now() + 1))
  valid = false
  const signedOut = vi.fn()
  whenSignedOut(signedOut)
  await answer
  expect(refreshes).toBe(0)
})

it('says when the session is over', async () => {
  refreshWorks = false
  const signedOut = vi.fn()
  whenSignedOut(signedOut)
  expect((await sessionFetch(request())).status).toBe(401)
  expect(signedOut).toHaveBeenCalledOnce()
})
