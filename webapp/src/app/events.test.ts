import { QueryClient } from '@tanstack/react-query'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { keysOf, listen } from './events'

class FakeSource {
  static last: FakeSource
  readyState = 1
  onopen: (() => void) | null = null
  onmessage: ((message: { data: string }) => void) | null = null
  onerror: (() => void) | null = null
  closed = false
  constructor() {
    FakeSource.last = this
  }
  close() {
    this.closed = true
  }
}

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal('EventSource', Object.assign(FakeSource, { CLOSED: 2 }))
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

it('makes the object stale at once and its lists a little later', () => {
  expect(keysOf({ kind: 'instance', id: 'i' })).toEqual({ soon: [['instance', 'i']], later: [['instances'], ['overview'], ['hosts']] })
  expect(keysOf({ kind: 'step', id: 's', parent: 'o' }).soon).toEqual([['steps', 'o']])
  expect(keysOf({ kind: 'something new', id: 'x' })).toEqual({ soon: [], later: [] })
})

it('gathers a burst of events into one refresh', () => {
  const client = new QueryClient()
  const invalidate = vi.spyOn(client, 'invalidateQueries').mockResolvedValue()
  const stop = listen(client)
  FakeSource.last.onopen?.()
  for (let i = 0; i < 50; i++) FakeSource.last.onmessage?.({ data: JSON.stringify({ kind: 'operation', id: 'o' }) })
  vi.advanceTimersByTime(200)
  expect(invalidate.mock.calls).toEqual([[{ queryKey: ['operation', 'o'] }]])
  vi.advanceTimersByTime(1000)
  expect(invalidate.mock.calls.map(([filter]) => filter?.queryKey?.[0])).toEqual(['operation', 'operations', 'instances', 'instance', 'overview'])
  stop()
  expect(FakeSource.last.closed).toBe(true)
})

it('reads everything anew after the connection was lost', () => {
  const client = new QueryClient()
  const invalidate = vi.spyOn(client, 'invalidateQueries').mockResolvedValue()
  const stop = listen(client)
  FakeSource.last.onopen?.()
  expect(invalidate).not.toHaveBeenCalled()
  FakeSource.last.onerror?.()
  FakeSource.last.onopen?.()
  expect(invalidate).toHaveBeenCalledExactlyOnceWith()
  stop()
})

it('rests while nobody looks at the tab', () => {
  const client = new QueryClient()
  const invalidate = vi.spyOn(client, 'invalidateQueries').mockResolvedValue()
  const stop = listen(client)
  const first = FakeSource.last
  first.onopen?.()
  const look = (hidden: boolean) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  }
  look(true)
  vi.advanceTimersByTime(10_000)
  look(false)
  expect(first.closed).toBe(false)
  look(true)
  vi.advanceTimersByTime(60_000)
  expect(first.closed).toBe(true)
  look(false)
  expect(FakeSource.last).not.toBe(first)
  FakeSource.last.onopen?.()
  expect(invalidate).toHaveBeenCalledExactlyOnceWith()
  stop()
})
