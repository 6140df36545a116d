import type { ReactNode } from 'react'
import classes from './Facts.module.css'

export interface FactRow {
  label: string
  value: ReactNode
}

// Facts is a table of names and values about one object.
export function Facts({ rows }: { rows: (FactRow | false | undefined)[] }) {
  return (
    <dl className={classes.facts}>
      {rows.map((row) =>
        row ? (
          <div key={row.label}>
            <dt>{row.label}</dt>
            <dd>{row.value}</dd>
          </div>
        ) : null,
      )}
    </dl>
  )
}
