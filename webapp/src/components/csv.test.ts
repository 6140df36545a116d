import { expect, it } from 'vitest'
import { csvCell, toCsv } from './csv'

it('quotes what must be quoted', () => {
  expect(csvCell('a,b')).toBe('"a,b"')
  expect(csvCell('say "x"')).toBe('"say ""x"""')
  expect(csvCell(undefined)).toBe('')
})

it('takes the power from what a spreadsheet would run', () => {
  expect(csvCell('=HYPERLINK("x")')).toBe(`"'=HYPERLINK(""x"")"`)
  expect(csvCell(-5)).toBe('-5')
})

it('writes a header and a line for each row', () => {
  const columns = [
    { header: 'Name', text: (row: { n: string }) => row.n },
    { header: 'Length', text: (row: { n: string }) => row.n.length },
  ]
  expect(toCsv(columns, [{ n: 'ab' }])).toBe('Name,Length\r\nab,2\r\n')
})
