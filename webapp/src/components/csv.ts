import type { List } from '@/api/types'
import type { ListSearch } from '@/app/search'

interface CsvColumn<Row> {
  header: string
  text: (row: Row) => string | number | undefined
}

const maxRows = 10_000

// A cell that a spreadsheet would take for a formula gets an apostrophe.
export function csvCell(value: string | number | undefined): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? '')
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export function toCsv<Row>(columns: CsvColumn<Row>[], rows: Row[]): string {
  const lines = [columns.map((column) => csvCell(column.header)).join(',')]
  for (const row of rows) lines.push(columns.map((column) => csvCell(column.text(row))).join(','))
  return `${lines.join('\r\n')}\r\n`
}

// downloadCsv walks the pages of a list as it is filtered now.
export async function downloadCsv<Row>(name: string, columns: CsvColumn<Row>[], search: ListSearch, fetchPage: (search: ListSearch) => Promise<List<Row>>): Promise<void> {
  const rows: Row[] = []
  let cursor: string | undefined
  do {
    const page = await fetchPage({ ...search, limit: '200', ...(cursor ? { cursor } : { cursor: '' }) })
    rows.push(...page.items)
    cursor = page.next_cursor
  } while (cursor && rows.length < maxRows)
  saveFile(`pgdrover-${name}.csv`, toCsv(columns, rows))
}

export function saveFile(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv' }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}
