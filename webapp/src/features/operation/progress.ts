import { useEffect, useRef, useState } from 'react'
import type { Progress } from '@/api/types'
import { formatBytes, formatDuration, formatNumber } from '@/components/format'

export interface Sample {
  at: number
  done: number
}

const windowMs = 30_000

// rateOf is what was done per second over the last half minute; undefined until that can be said.
export function rateOf(samples: readonly Sample[]): number | undefined {
  const last = samples.at(-1)
  const first = samples[0]
  if (!last || !first || last.at - first.at < 1000) return undefined
  const rate = ((last.done - first.done) * 1000) / (last.at - first.at)
  return rate > 0 ? rate : undefined
}

export function addSample(samples: readonly Sample[], next: Sample): Sample[] {
  const last = samples.at(-1)
  // Less than before: the work began anew.
  if (last && next.done < last.done) return [next]
  return [...samples.filter((sample) => next.at - sample.at <= windowMs), next]
}

export function amount(value: number, unit: string): string {
  return unit === 'bytes' || unit === 'B' ? formatBytes(value) : `${formatNumber(value)}${unit ? ` ${unit}` : ''}`
}

export function describeProgress(progress: Progress, rate: number | undefined): string {
  const parts = [progress.total > 0 ? `${amount(progress.done, progress.unit)} of ${amount(progress.total, progress.unit)}` : amount(progress.done, progress.unit)]
  if (rate !== undefined) {
    parts.push(`${amount(rate >= 10 ? Math.round(rate) : Number(rate.toFixed(1)), progress.unit)}/s`)
    if (progress.total > progress.done) parts.push(`${formatDuration(((progress.total - progress.done) / rate) * 1000).replace(/\.\d+ s$/, ' s')} left`)
  }
  if (progress.note) parts.push(progress.note)
  return parts.join(' · ')
}

export function useRate(progress: Progress | null | undefined): number | undefined {
  const samples = useRef<Sample[]>([])
  const [rate, setRate] = useState<number>()
  const done = progress?.done
  useEffect(() => {
    if (done === undefined) return
    samples.current = addSample(samples.current, { at: Date.now(), done })
    setRate(rateOf(samples.current))
  }, [done])
  return rate
}
