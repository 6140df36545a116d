import { useSyncExternalStore } from 'react'

// The operations a person started in this tab and has not seen the end of. They survive a reload.
const storageKey = 'pgdrover-tracked'

function load(): string[] {
  try {
    const parsed: unknown = JSON.parse(sessionStorage.getItem(storageKey) ?? '[]')
    return Array.isArray(parsed) ? parsed.filter((id): id is string => typeof id === 'string') : []
  } catch {
    return []
  }
}

let tracked: readonly string[] = load()
const watchers = new Set<() => void>()

function replace(next: readonly string[]): void {
  tracked = next
  try {
    sessionStorage.setItem(storageKey, JSON.stringify(next))
  } catch {
    // Then they last until the page is closed.
  }
  for (const watcher of watchers) watcher()
}

export function track(id: string): void {
  if (!tracked.includes(id)) replace([...tracked, id])
}

export function untrack(id: string): void {
  if (tracked.includes(id)) replace(tracked.filter((each) => each !== id))
}

export function useTracked(): readonly string[] {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
    () => tracked,
  )
}
