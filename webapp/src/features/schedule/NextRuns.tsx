import { Text } from '@mantine/core'
import { RelativeTime } from '@/components/Time'
import classes from './NextRuns.module.css'

// formatInZone writes a time as the clock on the wall shows it in a zone.
export function formatInZone(at: string, zone: string): string {
  try {
    return new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium', timeZone: zone }).format(new Date(at))
  } catch {
    // A zone the browser does not know.
    return new Date(at).toISOString().replace('T', ' ').slice(0, 19)
  }
}

function weekday(at: string, zone: string): string {
  try {
    return new Intl.DateTimeFormat('en-GB', { weekday: 'short', timeZone: zone }).format(new Date(at))
  } catch {
    return ''
  }
}

export function NextRuns({ times, zone }: { times: string[]; zone: string }) {
  if (times.length === 0) {
    return (
      <Text c="dimmed" size="sm">
        It would never run.
      </Text>
    )
  }
  return (
    <>
      <ol className={classes.times}>
        {times.map((time) => (
          <li key={time}>
            <span className="num">
              {weekday(time, zone)} {formatInZone(time, zone)}
            </span>
            <Text span size="sm" c="dimmed">
              <RelativeTime at={time} />
            </Text>
          </li>
        ))}
      </ol>
      <Text size="xs" c="dimmed" mt={8}>
        Times of {zone}.
      </Text>
    </>
  )
}
