import { useSyncExternalStore } from 'react'
import type { QueryClient, QueryKey } from '@tanstack/react-query'
import { api, take } from '@/api/client'
import { problemOf } from '@/api/problem'

export interface ChangeEvent {
  kind: string
  id?: string
  parent?: string
}

// keysOf tells which queries an event makes stale: the object itself at once, the lists it is in a little later.
export function keysOf(event: ChangeEvent): { soon: QueryKey[]; later: QueryKey[] } {
  switch (event.kind) {
    case 'host':
      return { soon: [['host', event.id]], later: [['hosts'], ['overview'], ['instances']] }
    case 'instance':
      return { soon: [['instance', event.id]], later: [['instances'], ['overview'], ['hosts']] }
    case 'operation':
      return { soon: [['operation', event.id]], later: [['operations'], ['instances'], ['instance'], ['overview']] }
    case 'step':
      return { soon: event.parent ? [['steps', event.parent]] : [], later: [] }
    case 'output':
      // Output is read on from where it was, not anew.
      return { soon: [], later: [] }
    case 'notification':
      return { soon: [['notifications']], later: [] }
    case 'schedule':
      return { soon: [['schedule', event.id]], later: [['schedules'], ['overview']] }
    default:
      return { soon: [], later: [] }
  }
}

// A Batch gathers keys and hands them over together: a busy fleet must not make a request for every event.
class Batch {
  private readonly keys = new Map<string, QueryKey>()
  private timer: ReturnType<typeof setTimeout> | undefined
  private readonly delay: number
  private readonly flush: (keys: QueryKey[]) => void

  constructor(delay: number, flush: (keys: QueryKey[]) => void) {
    this.delay = delay
    this.flush = flush
  }

  add(keys: QueryKey[]): void {
    for (const key of keys) this.keys.set(JSON.stringify(key), key)
    if (this.keys.size === 0) return
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      const gathered = [...this.keys.values()]
      this.keys.clear()
      this.flush(gathered)
    }, this.delay)
  }

  stop(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.keys.clear()
  }
}

export type Connection = 'connecting' | 'live' | 'lost'

let connection: Connection = 'connecting'
const watchers = new Set<() => void>()

function setConnection(next: Connection): void {
  if (connection === next) return
  connection = next
  for (const watcher of watchers) watcher()
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
    () => connection,
  )
}

const listeners = new Set<(event: ChangeEvent) => void>()

// onChange calls back for every event; for what is not a query, such as output that is read on from where it was.
export function onChange(listener: (event: ChangeEvent) => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

const restAfter = 30_000

// listen keeps the event stream open and the query cache fresh until the returned function is called.
export function listen(client: QueryClient): () => void {
  const invalidate = (keys: QueryKey[]) => {
    for (const queryKey of keys) void client.invalidateQueries({ queryKey })
  }
  const soon = new Batch(150, invalidate)
  const later = new Batch(1000, invalidate)
  let source: EventSource | undefined
  let retry: ReturnType<typeof setTimeout> | undefined
  let wait = 1000
  let stopped = false
  let wasLost = false

  const reopen = async () => {
    try {
      // Any request renews the session; without one the person is on the way to sign in.
      await take(api.GET('/api/v1/me'))
    } catch (error) {
      if (problemOf(error).status === 401) return
    }
    open()
  }
  const open = () => {
    if (stopped) return
    source = new EventSource('/api/v1/events')
    source.onopen = () => {
      wait = 1000
      setConnection('live')
      // What happened while nobody listened is unknown.
      if (wasLost) void client.invalidateQueries()
      wasLost = false
    }
    source.onmessage = (message: MessageEvent<string>) => {
      const event = JSON.parse(message.data) as ChangeEvent
      if (event.kind === 'resync') {
        // The manager may have missed events itself.
        void client.invalidateQueries()
        return
      }
      const keys = keysOf(event)
      soon.add(keys.soon)
      later.add(keys.later)
      for (const listener of listeners) listener(event)
    }
    source.onerror = () => {
      wasLost = true
      setConnection('lost')
      // The browser tries again by itself unless the answer was an error, such as an expired session.
      if (source?.readyState === EventSource.CLOSED) {
        retry = setTimeout(() => void reopen(), wait)
        wait = Math.min(wait * 2, 15_000)
      }
    }
  }
  // A connection that the network dropped silently says nothing: begin anew when the network is back.
  const restart = () => {
    clearTimeout(retry)
    source?.close()
    wasLost = true
    open()
  }
  const offline = () => {
    wasLost = true
    setConnection('lost')
  }
  // A browser opens six connections to a manager without TLS, whatever the number of tabs: one that nobody looks at
  // must not keep one of them.
  let hidden: ReturnType<typeof setTimeout> | undefined
  let resting = false
  const looked = () => {
    clearTimeout(hidden)
    if (document.hidden) {
      hidden = setTimeout(() => {
        resting = true
        clearTimeout(retry)
        source?.close()
      }, restAfter)
    } else if (resting) {
      resting = false
      restart()
    }
  }
  window.addEventListener('offline', offline)
  window.addEventListener('online', restart)
  document.addEventListener('visibilitychange', looked)
  open()
  return () => {
    window.removeEventListener('offline', offline)
    window.removeEventListener('online', restart)
    document.removeEventListener('visibilitychange', looked)
    stopped = true
    clearTimeout(retry)
    clearTimeout(hidden)
    soon.stop()
    later.stop()
    source?.close()
    connection = 'connecting'
  }
}
