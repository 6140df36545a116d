import { useSyncExternalStore } from 'react'
import { usePreferences } from '@/app/preferences'
import { formatAbsolute, formatDuration, formatElapsed, formatRelative } from './format'

// One clock for the page: a list of a hundred times must not have a hundred timers.
let now = Date.now()
const watchers = new Set<() => void>()
let timer: ReturnType<typeof setInterval> | undefined

function watch(watcher: () => void): () => void {
  // The clock stood still while nobody watched.
  if (watchers.size === 0) now = Date.now()
  watchers.add(watcher)
  timer ??= setInterval(() => {
    now = Date.now()
    for (const each of watchers) each()
  }, 1000)
  return () => {
    watchers.delete(watcher)
    if (watchers.size === 0) {
      clearInterval(timer)
      timer = undefined
    }
  }
}

export function useNow(): number {
  return useSyncExternalStore(watch, () => now)
}

interface TimeProps {
  at: string | null | undefined
  never?: string
}

export function RelativeTime({ at, never = '–' }: TimeProps) {
  const clock = useNow()
  const { zone } = usePreferences()
  if (!at) return <span>{never}</span>
  const time = Date.parse(at)
  const other = zone === 'utc' ? 'local' : 'utc'
  return (
    <time dateTime={at} title={`${formatAbsolute(time, zone)}\n${formatAbsolute(time, other)}`} className="num">
      {formatRelative(time, clock)}
    </time>
  )
}

export function AbsoluteTime({ at, never = '–' }: TimeProps) {
  const clock = useNow()
  const { zone } = usePreferences()
  if (!at) return <span>{never}</span>
  return (
    <time dateTime={at} title={formatRelative(Date.parse(at), clock)} className="num">
      {formatAbsolute(at, zone)}
    </time>
  )
}

interface DurationProps {
  from: string | null | undefined
  to?: string | null | undefined
}

// Duration counts on while there is no end.
export function Duration({ from, to }: DurationProps) {
  if (!from) return <span>–</span>
  if (to) return <span className="num">{formatDuration(Date.parse(to) - Date.parse(from))}</span>
  return <Counting from={from} />
}

function Counting({ from }: { from: string }) {
  const clock = useNow()
  return <span className="num">{formatElapsed(clock - Date.parse(from))}</span>
}
