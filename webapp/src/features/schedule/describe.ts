import type { Schedule } from '@/api/types'
import { formatInterval } from '@/components/format'

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday']

// describeCron says the common rules in words; undefined for those better read as they are.
export function describeCron(cron: string): string | undefined {
  const fields = cron.trim().split(/\s+/)
  const [minute, hour, day, month, weekday] = fields
  if (fields.length !== 5 || minute === undefined || hour === undefined || month !== '*') return undefined
  const every = /^\*\/(\d+)$/.exec(minute)
  if (hour === '*' && day === '*' && weekday === '*') {
    if (minute === '*') return 'every minute'
    if (every) return `every ${every[1] ?? ''} minutes`
    if (/^\d+$/.test(minute)) return `every hour at :${minute.padStart(2, '0')}`
    return undefined
  }
  if (!/^\d+$/.test(minute) || !/^\d+$/.test(hour)) return undefined
  const time = `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`
  if (day === '*' && weekday === '*') return `every day at ${time}`
  if (day === '*' && weekday === '1-5') return `Monday to Friday at ${time}`
  if (day === '*' && weekday !== undefined && /^[0-7]$/.test(weekday)) return `every ${days[Number(weekday)] ?? ''} at ${time}`
  if (weekday === '*' && day !== undefined && /^\d+$/.test(day)) return `on day ${day} of each month at ${time}`
  return undefined
}

export function describeTimes(schedule: Pick<Schedule, 'cron' | 'every_seconds' | 'time_zone'>): string {
  if (schedule.every_seconds) return `every ${formatInterval(schedule.every_seconds)}`
  const cron = schedule.cron ?? ''
  const words = describeCron(cron)
  return `${words ?? cron} ${schedule.time_zone}`
}
