import { Button, Group, Skeleton, Text } from '@mantine/core'
import type { UseQueryResult } from '@tanstack/react-query'
import { tableFeatures, useTable } from '@tanstack/react-table'
import { IconArrowDown, IconArrowUp, IconChevronLeft, IconChevronRight, IconSelector } from '@tabler/icons-react'
import { useMemo, type ReactNode } from 'react'
import type { List } from '@/api/types'
import { usePreferences } from '@/app/preferences'
import type { ListSearch } from '@/app/search'
import classes from './DataList.module.css'
import { formatNumber } from './format'
import { ListToolbar, type Filter } from './ListToolbar'
import { ProblemAlert } from './ProblemAlert'
import type { ListState } from './useListState'

export interface Column<Row> {
  id: string
  header: string
  cell: (row: Row) => ReactNode
  // The text of the cell in a CSV file.
  text: (row: Row) => string | number | undefined
  // The field the server sorts by, where it can.
  sort?: string
  align?: 'right'
  width?: number | string
  // Optional columns can be hidden; those not shown by default are still offered.
  optional?: boolean | 'hidden'
}

interface Props<Row> {
  // Names the list for its column choice and its CSV file.
  name: string
  label: string
  columns: Column<Row>[]
  query: UseQueryResult<List<Row>>
  state: ListState
  filters?: Filter[]
  searchLabel?: string
  empty: ReactNode
  // Reads another page, for the CSV file.
  fetchPage?: (search: ListSearch) => Promise<List<Row>>
  // What the list is sorted by unless somebody chose, e.g. "-accepted_at".
  defaultSort?: string
}

const features = tableFeatures({})
const none: never[] = []
const maxCellWidth = 360

export function visibleColumns<Row>(columns: Column<Row>[], hidden: string[] | undefined): Column<Row>[] {
  if (!hidden) return columns.filter((column) => column.optional !== 'hidden')
  return columns.filter((column) => !column.optional || !hidden.includes(column.id))
}

// DataList is a table that pages, sorts and filters on the server and keeps its state in the URL.
export function DataList<Row extends { id: string | number }>(props: Props<Row>) {
  const { columns, query, state, filters, empty } = props
  const { hiddenColumns, density } = usePreferences()
  const hidden = hiddenColumns[props.name]
  const shown = useMemo(() => visibleColumns(columns, hidden), [columns, hidden])
  const table = useTable({
    features,
    data: query.data?.items ?? none,
    columns: useMemo(() => shown.map((column) => ({ id: column.id, header: column.header })), [shown]),
    getRowId: (row: Row) => String(row.id),
  })
  const sort = state.search.sort ?? props.defaultSort ?? ''
  const filtered = state.search.q !== undefined || (filters ?? none).some((filter) => state.search[filter.key] !== undefined)
  const page = query.data

  if (page?.total === 0 && !filtered && !state.search.cursor) return <div className={classes.frame}>{empty}</div>

  return (
    <div className={classes.frame}>
      {(props.searchLabel ?? filters ?? props.fetchPage) ? <ListToolbar
        name={props.name}
        columns={columns}
        state={state}
        filters={filters ?? none}
        searchLabel={props.searchLabel}
        fetchPage={props.fetchPage}
      /> : null}
      {query.isError && (
        <div className={classes.problem}>
          <ProblemAlert error={query.error} title={`${props.label} could not be read`} retry={() => void query.refetch()} />
        </div>
      )}
      <div className={classes.scroll}>
        <table className={classes.table} data-density={density} aria-label={props.label} aria-busy={query.isFetching}>
          <thead>
            <tr>
              {shown.map((column) => (
                <HeaderCell key={column.id} column={column} sort={sort} onSort={state.setSort} />
              ))}
            </tr>
          </thead>
          <tbody>
            {query.isPending
              ? Array.from({ length: 8 }, (_, row) => (
                  <tr key={row}>
                    {shown.map((column) => (
                      <td key={column.id}>
                        <Skeleton height={12} my={4} width="70%" />
                      </td>
                    ))}
                  </tr>
                ))
              : table.getRowModel().rows.map((row) => (
                  <tr key={row.id}>
                    {shown.map((column) => (
                      <td key={column.id} className={column.align === 'right' ? classes.right : undefined} style={{ maxWidth: column.width ?? maxCellWidth }}>
                        {column.cell(row.original)}
                      </td>
                    ))}
                  </tr>
                ))}
          </tbody>
        </table>
      </div>
      {page?.items.length === 0 && (
        <div className={classes.nothing}>
          <Text c="dimmed">Nothing matches.</Text>
          <Button variant="default" size="compact-sm" onClick={state.clear}>
            Clear search and filters
          </Button>
        </div>
      )}
      {page && page.items.length > 0 && <Pager page={page} state={state} />}
    </div>
  )
}

interface HeaderProps<Row> {
  column: Column<Row>
  sort: string
  onSort: (sort: string) => void
}

function HeaderCell<Row>({ column, sort, onSort }: HeaderProps<Row>) {
  const className = column.align === 'right' ? classes.right : undefined
  if (!column.sort) {
    return (
      <th scope="col" className={className} style={{ width: column.width }}>
        {column.header}
      </th>
    )
  }
  const up = sort === column.sort
  const down = sort === `-${column.sort}`
  const next = up ? `-${column.sort}` : column.sort
  const SortIcon = up ? IconArrowUp : down ? IconArrowDown : IconSelector
  return (
    <th scope="col" className={className} style={{ width: column.width }} aria-sort={up ? 'ascending' : down ? 'descending' : 'none'}>
      <button type="button" className={classes.sort} onClick={() => onSort(next)} data-active={up || down || undefined}>
        {column.header}
        <SortIcon size={13} aria-hidden />
      </button>
    </th>
  )
}

function Pager<Row>({ page, state }: { page: List<Row>; state: ListState }) {
  const first = state.offset + 1
  const last = state.offset + page.items.length
  const known = state.search.cursor === undefined || state.offset > 0
  return (
    <Group justify="space-between" className={classes.pager}>
      <Text size="sm" c="dimmed" className="num" role="status">
        {known ? `${formatNumber(first)}–${formatNumber(last)} of ${formatNumber(page.total)}` : `${formatNumber(page.items.length)} of ${formatNumber(page.total)}`}
      </Text>
      <Group gap={8}>
        {state.search.cursor && (
          <Button variant="default" size="compact-sm" leftSection={<IconChevronLeft size={14} />} onClick={state.back}>
            {state.offset > 0 ? 'Previous' : 'First page'}
          </Button>
        )}
        {page.next_cursor && (
          <Button variant="default" size="compact-sm" rightSection={<IconChevronRight size={14} />} onClick={() => state.next(page.next_cursor ?? '', page.items.length)}>
            Next
          </Button>
        )}
      </Group>
    </Group>
  )
}
