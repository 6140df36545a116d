import { expect, it } from 'vitest'
import { appendChunks, maxLines, plainText, runsOf } from './output'

const chunk = (offset: number, text: string, run = 1) => ({ step: 's', run, offset, text, at: '' })

it('takes out what steers a terminal', () => {
  expect(plainText('\u001b[1;31mred\u001b[0m\r\nnext')).toBe('red\nnext')
  expect(plainText('10 %\r50 %\r100 %\ndone')).toBe('100 %\ndone')
})

it('adds a chunk that came twice only once', () => {
  const known = appendChunks([], [chunk(0, 'a'), chunk(1, 'b')])
  expect(appendChunks(known, [chunk(1, 'b'), chunk(2, 'c')]).map((each) => each.text)).toEqual(['a', 'b', 'c'])
})

it('puts each attempt in order', () => {
  expect(runsOf([chunk(2, 'c\n'), chunk(0, 'a\n'), chunk(0, 'again', 2)])).toEqual([
    { run: 1, lines: ['a', 'c'], cut: 0 },
    { run: 2, lines: ['again'], cut: 0 },
  ])
})

it('shows the end of what is too long', () => {
  const [run] = runsOf([chunk(0, 'x\n'.repeat(maxLines + 7))])
  expect(run?.lines.length).toBe(maxLines)
  expect(run?.cut).toBe(7)
})
