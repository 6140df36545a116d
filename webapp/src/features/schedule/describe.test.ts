import { expect, it } from 'vitest'
import { describeCron, describeTimes } from './describe'

it.each([
  ['* * * * *', 'every minute'],
  ['*/15 * * * *', 'every 15 minutes'],
  ['5 * * * *', 'every hour at :05'],
  ['0 3 * * *', 'every day at 03:00'],
  ['30 22 * * 1-5', 'Monday to Friday at 22:30'],
  ['0 4 * * 7', 'every Sunday at 04:00'],
  ['0 4 1 * *', 'on day 1 of each month at 04:00'],
  ['0 4 1 1 *', undefined],
  ['0 4 1 * 1', undefined],
  ['rubbish', undefined],
])('%s is %s', (cron, words) => {
  expect(describeCron(cron)).toBe(words)
})

it('falls back to the rule itself', () => {
  expect(describeTimes({ cron: '0 4 1 1 *', time_zone: 'UTC' })).toBe('0 4 1 1 * UTC')
  expect(describeTimes({ every_seconds: 5400, time_zone: 'UTC' })).toBe('every 1 h 30 min')
})
