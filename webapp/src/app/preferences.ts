import { useSyncExternalStore } from 'react'

// What a person likes, kept in the browser.
export interface Preferences {
  zone: 'local' | 'utc'
  density: 'comfortable' | 'compact'
  hiddenColumns: Record<string, string[]>
}

const storageKey = 'pgdrover-preferences'
const standard: Preferences = { zone: 'local', density: 'comfortable', hiddenColumns: {} }

function load(): Preferences {
  try {
    const parsed = JSON.parse(localStorage.getItem(storageKey) ?? '{}') as Partial<Preferences>
    return { ...standard, ...parsed }
  } catch {
    return standard
  }
}

let current = load()
const watchers = new Set<() => void>()

export function setPreferences(patch: Partial<Preferences>): void {
  current = { ...current, ...patch }
  try {
    localStorage.setItem(storageKey, JSON.stringify(current))
  } catch {
    // Without storage they last until the page is closed.
  }
  for (const watcher of watchers) watcher()
}

export function preferences(): Preferences {
  return current
}

export function usePreferences(): Preferences {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
    () => current,
  )
}
