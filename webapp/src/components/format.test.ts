import { describe, expect, it } from 'vitest'
import { formatAbsolute, formatBytes, formatDuration, formatInterval, formatRelative } from './format'

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [10 * 1024, '10.0 KiB'],
    [8.68 * 2 ** 20, '8.68 MiB'],
    [2 ** 40, '1.00 TiB'],
    [-1, '–'],
    [Number.NaN, '–'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})

describe('formatDuration', () => {
  it.each([
    [420, '0.42 s'],
    [12_080, '12.08 s'],
    [185_000, '3 min 05 s'],
    [8_040_000, '2 h 14 min'],
    [273_600_000, '3 d 4 h'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })
})

describe('formatRelative', () => {
  const now = Date.parse('2026-03-01T12:00:00Z')
  it.each([
    [0, 'just now'],
    [-30_000, '30 s ago'],
    [30_000, 'in 30 s'],
    [-50 * 60_000, '50 min ago'],
    [-20 * 3_600_000, '20 h ago'],
    [-40 * 86_400_000, '40 d ago'],
    [-800 * 86_400_000, '2 y ago'],
  ])('says %d ms as %s', (difference, text) => {
    expect(formatRelative(now + difference, now)).toBe(text)
  })
})

it('writes UTC and nonsense', () => {
  expect(formatAbsolute('2026-03-01T12:00:05Z', 'utc')).toBe('2026-03-01 12:00:05 UTC')
  expect(formatAbsolute('never', 'utc')).toBe('–')
})

it('writes intervals by their parts', () => {
  expect(formatInterval(90)).toBe('1 min 30 s')
  expect(formatInterval(3600)).toBe('1 h')
  expect(formatInterval(0)).toBe('0 s')
})
