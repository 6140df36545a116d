import { Button, Group, Text } from '@mantine/core'
import { IconDownload } from '@tabler/icons-react'
import { useState } from 'react'
import { saveFile, toCsv } from './csv'
import { formatNumber } from './format'
import classes from './QueryResult.module.css'

export interface SqlResult {
  columns: { name: string; type: string }[]
  rows: (string | null)[][]
  truncated: boolean
  command: string | undefined
  seconds: number | undefined
}

// hasRows tells whether a result is a table of rows.
export function hasRows(raw: unknown): boolean {
  return resultOf(raw).columns.length > 0
}

// resultOf reads the result of instance-query, which the document leaves open.
export function resultOf(raw: unknown): SqlResult {
  const value = (typeof raw === 'object' && raw !== null ? raw : {}) as Partial<Record<keyof SqlResult, unknown>>
  return {
    columns: Array.isArray(value.columns) ? (value.columns as SqlResult['columns']) : [],
    rows: Array.isArray(value.rows) ? (value.rows as SqlResult['rows']) : [],
    truncated: value.truncated === true,
    command: typeof value.command === 'string' && value.command !== '' ? value.command : undefined,
    seconds: typeof value.seconds === 'number' ? value.seconds : undefined,
  }
}

const numeric = /^(int|float|numeric|oid|money|serial|bigint|integer|smallint|real|double)/
// A thousand rows are drawn at once; more on demand.
const firstRows = 200

export function QueryResult({ result }: { result: SqlResult }) {
  const [all, setAll] = useState(false)
  if (result.columns.length === 0) {
    return (
      <Text size="sm" c="dimmed" p={16}>
        The statement gave no rows.
      </Text>
    )
  }
  const rows = all ? result.rows : result.rows.slice(0, firstRows)
  const save = () => {
    const columns = result.columns.map((column, index) => ({ header: column.name, text: (row: (string | null)[]) => row[index] ?? '' }))
    saveFile('query.csv', toCsv(columns, result.rows))
  }
  return (
    <>
      {/* A region that scrolls must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <div className={classes.scroll} tabIndex={0} role="region" aria-label="Rows">
        <table className={classes.table}>
          <thead>
            <tr>
              <th scope="col" className={classes.number}>
                #
              </th>
              {result.columns.map((column, index) => (
                <th key={index} scope="col" className={numeric.test(column.type) ? classes.right : undefined}>
                  {column.name} <span className={classes.type}>{column.type}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, at) => (
              <tr key={at}>
                <td className={classes.number}>{at + 1}</td>
                {row.map((value, index) => (
                  <td key={index} className={numeric.test(result.columns[index]?.type ?? '') ? classes.right : undefined}>
                    {value === null ? <span className={classes.null}>NULL</span> : value}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Group justify="space-between" px={16} py={8} className={classes.foot}>
        <Text size="xs" c="dimmed">
          {result.truncated ? 'More rows were left out: raise the limit or narrow the statement.' : (result.command ?? '')}
        </Text>
        <Group gap={8}>
          {rows.length < result.rows.length && (
            <Button size="compact-xs" variant="default" onClick={() => setAll(true)}>
              Show all {formatNumber(result.rows.length)}
            </Button>
          )}
          <Button size="compact-xs" variant="default" leftSection={<IconDownload size={14} />} onClick={save}>
            Save as CSV
          </Button>
        </Group>
      </Group>
    </>
  )
}
