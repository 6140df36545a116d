import type { ReactNode } from 'react'
import classes from './DataList.module.css'

interface Props {
  label: string
  head: string[]
  rows: { key: string; cells: ReactNode[] }[]
}

// PlainTable is a short table that needs no paging.
export function PlainTable({ label, head, rows }: Props) {
  return (
    <div className={classes.scroll}>
      <table className={classes.table} aria-label={label}>
        <thead>
          <tr>
            {head.map((text) => (
              <th key={text} scope="col" style={{ borderTop: 0 }}>
                {text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.key}>
              {row.cells.map((cell, index) => (
                <td key={head[index]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
