import { Anchor, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import type { Operation } from '@/api/types'
import { ShortId } from '@/components/CopyId'
import { DataList, type Column } from '@/components/DataList'
import type { Filter } from '@/components/ListToolbar'
import { statesOf } from '@/components/states'
import { StatusBadge } from '@/components/StatusBadge'
import { Duration, RelativeTime } from '@/components/Time'
import { withoutTab, type ListState } from '@/components/useListState'
import { listOperations, operationsQuery, operationTypesQuery, type OperationSearch } from './api'
import { TargetLink } from './TargetLink'

const columns: Column<Operation>[] = [
  {
    id: 'title',
    header: 'Operation',
    cell: (op) => (
      <>
        <Anchor inherit fw={500} renderRoot={(props) => <Link {...props} to="/operations/$id" params={{ id: op.id }} />}>
          {op.title}
        </Anchor>
        {op.dry_run && (
          <Text span size="xs" c="dimmed" ml={6}>
            dry run
          </Text>
        )}
      </>
    ),
    text: (op) => op.title,
  },
  { id: 'state', header: 'State', cell: (op) => <StatusBadge plain kind="operation" state={op.state} />, text: (op) => op.state },
  { id: 'target', header: 'Target', cell: (op) => <TargetLink operation={op} />, text: (op) => op.target_name, optional: true },
  {
    id: 'host',
    header: 'Host',
    cell: (op) => (op.host_id ? <Link to="/hosts/$id" params={{ id: op.host_id }} className="plain">{op.host_name}</Link> : '–'),
    text: (op) => op.host_name,
    optional: true,
  },
  { id: 'actor', header: 'Asked by', cell: (op) => op.actor, text: (op) => op.actor, optional: true },
  { id: 'accepted', header: 'Accepted', sort: 'accepted_at', cell: (op) => <RelativeTime at={op.accepted_at} />, text: (op) => op.accepted_at },
  { id: 'duration', header: 'Took', align: 'right', cell: (op) => <Duration from={op.started_at} to={op.ended_at} />, text: (op) => (op.started_at && op.ended_at ? (Date.parse(op.ended_at) - Date.parse(op.started_at)) / 1000 : ''), optional: true },
  { id: 'name', header: 'Kind', cell: (op) => <span className="mono">{op.name}</span>, text: (op) => op.name, optional: 'hidden' },
  { id: 'id', header: 'Id', cell: (op) => <ShortId value={op.id} />, text: (op) => op.id, optional: 'hidden' },
]

interface Props {
  state: ListState
  // What the list is narrowed to by the page it is on.
  fixed?: OperationSearch
  empty: ReactNode
  without?: string[]
}

const noFixed: OperationSearch = {}

// Every form makes a dry run; among what was done they would only be noise.
function wantedOf(search: OperationSearch, fixed: OperationSearch): OperationSearch {
  const { dry_run: dryRun = 'false', ...rest } = search
  return { ...rest, ...fixed, ...(dryRun === 'all' ? {} : { dry_run: dryRun }) }
}

// OperationList is every list of operations: of all, of a host, of an instance, of a schedule.
export function OperationList({ state, fixed = noFixed, empty, without = [] }: Props) {
  const types = useQuery(operationTypesQuery).data ?? []
  const search = withoutTab(state.search)
  const wanted = wantedOf(search, fixed)
  const query = useQuery(operationsQuery(wanted))
  const filters: Filter[] = [
    { key: 'state', label: 'State', options: statesOf('operation') },
    { key: 'name', label: 'Kind', options: types.map((type) => ({ value: type.name, label: type.title })) },
    { key: 'actor', label: 'Asked by', placeholder: 'login' },
    {
      key: 'dry_run',
      label: 'Dry runs',
      options: [
        { value: 'all', label: 'Too' },
        { value: 'true', label: 'Only' },
      ],
    },
  ]
  return (
    <DataList
      name="operations"
      label="Operations"
      columns={without.length > 0 ? columns.filter((column) => !without.includes(column.id)) : columns}
      query={query}
      state={state}
      filters={filters}
      searchLabel="Search operations"
      defaultSort="-accepted_at"
      empty={empty}
      fetchPage={(page) => listOperations(wantedOf(page, fixed))}
    />
  )
}
