import { expect, it } from 'vitest'
import { addSample, describeProgress, rateOf } from './progress'

it('knows no rate from one sample or within a second', () => {
  expect(rateOf([{ at: 0, done: 0 }])).toBeUndefined()
  expect(rateOf([{ at: 0, done: 0 }, { at: 500, done: 5 }])).toBeUndefined()
})

it('takes the rate of the last half minute', () => {
  let samples = addSample([], { at: 0, done: 0 })
  samples = addSample(samples, { at: 20_000, done: 100 })
  samples = addSample(samples, { at: 40_000, done: 500 })
  expect(rateOf(samples)).toBe(20)
})

it('begins anew when the work did', () => {
  expect(addSample([{ at: 0, done: 90 }], { at: 1000, done: 3 })).toEqual([{ at: 1000, done: 3 }])
})

it('says done, rate and what is left', () => {
  expect(describeProgress({ done: 2 ** 30, total: 4 * 2 ** 30, unit: 'bytes', note: 'base' }, 2 ** 28)).toBe('1.00 GiB of 4.00 GiB · 256 MiB/s · 12 s left · base')
  expect(describeProgress({ done: 3, total: 0, unit: 'files' }, undefined)).toBe('3 files')
})
