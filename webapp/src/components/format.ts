// How numbers and times are written, everywhere.

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']

export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes) || bytes < 0) return '–'
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  if (unit === 0) return `${value} B`
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit] ?? ''}`
}

export function formatNumber(value: number): string {
  return new Intl.NumberFormat('en-US').format(value)
}

// Durations to two places: 0.42 s, 12.08 s, 3 min 05 s, 2 h 14 min, 3 d 4 h.
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '–'
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toFixed(2)} s`
  const whole = Math.floor(seconds)
  const pad = (n: number) => String(n).padStart(2, '0')
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`
}

// The same in whole seconds, for what is still counting.
export function formatElapsed(ms: number): string {
  if (ms < 60_000) return `${Math.max(0, Math.floor(ms / 1000))} s`
  return formatDuration(ms)
}

const steps: [limit: number, size: number, unit: string][] = [
  [90, 1, 's'],
  [90 * 60, 60, 'min'],
  [36 * 3600, 3600, 'h'],
  [60 * 86_400, 86_400, 'd'],
  [730 * 86_400, 30.44 * 86_400, 'mo'],
  [Infinity, 365.25 * 86_400, 'y'],
]

export function formatRelative(at: number, now: number): string {
  const seconds = Math.round((now - at) / 1000)
  const size = Math.abs(seconds)
  if (size < 5) return 'just now'
  for (const [limit, unitSize, unit] of steps) {
    if (size < limit) {
      const text = `${Math.round(size / unitSize)} ${unit}`
      return seconds >= 0 ? `${text} ago` : `in ${text}`
    }
  }
  return ''
}

export function formatAbsolute(at: number | string | Date, zone: 'local' | 'utc'): string {
  const date = new Date(at)
  if (Number.isNaN(date.getTime())) return '–'
  const pad = (n: number) => String(n).padStart(2, '0')
  if (zone === 'utc') return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`
  const offset = -date.getTimezoneOffset()
  const sign = offset < 0 ? '-' : '+'
  const hours = pad(Math.floor(Math.abs(offset) / 60))
  const minutes = Math.abs(offset) % 60
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`
  return `${day} ${time} UTC${offset === 0 ? '' : `${sign}${hours}${minutes ? `:${pad(minutes)}` : ''}`}`
}

// How long something takes per interval of a schedule: 90 -> "1 min 30 s", 3600 -> "1 h".
export function formatInterval(seconds: number): string {
  const parts: string[] = []
  let rest = seconds
  for (const [size, unit] of [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']] as const) {
    const count = Math.floor(rest / size)
    if (count > 0) parts.push(`${count} ${unit}`)
    rest -= count * size
  }
  return parts.join(' ') || '0 s'
}
