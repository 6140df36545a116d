import { useSyncExternalStore } from 'react'

// A wish to run an operation; the dialog in the shell makes a form of it.
export interface DialogRequest {
  name: string
  target?: { kind: 'host' | 'instance'; id: string; name: string }
  initial?: Record<string, unknown>
}

let request: DialogRequest | undefined
const watchers = new Set<() => void>()

function replace(next: DialogRequest | undefined): void {
  request = next
  for (const watcher of watchers) watcher()
}

export function openOperation(next: DialogRequest): void {
  replace(next)
}

export function closeOperation(): void {
  replace(undefined)
}

export function useDialogRequest(): DialogRequest | undefined {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
    () => request,
  )
}
