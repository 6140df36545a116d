import { Anchor, Button, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useSearch } from '@tanstack/react-router'
import { IconCalendarRepeat, IconPlus } from '@tabler/icons-react'
import type { Schedule } from '@/api/types'
import { DataList, type Column } from '@/components/DataList'
import { EmptyState } from '@/components/EmptyState'
import { PageHeader } from '@/components/PageHeader'
import { StatusBadge } from '@/components/StatusBadge'
import { RelativeTime } from '@/components/Time'
import { useListState } from '@/components/useListState'
import { useCan } from '@/features/access/api'
import { listSchedules, schedulesQuery } from './api'
import { describeTimes } from './describe'

const columns: Column<Schedule>[] = [
  {
    id: 'name',
    header: 'Name',
    cell: (schedule) => (
      <Anchor inherit fw={500} renderRoot={(props) => <Link {...props} to="/schedules/$id" params={{ id: schedule.id }} />}>
        {schedule.name}
      </Anchor>
    ),
    text: (schedule) => schedule.name,
  },
  { id: 'state', header: 'State', cell: (schedule) => <StatusBadge plain kind="schedule" state={schedule.paused ? 'paused' : 'active'} />, text: (schedule) => (schedule.paused ? 'paused' : 'active') },
  { id: 'runs', header: 'Runs', cell: (schedule) => <span className="mono">{schedule.operation_name}</span>, text: (schedule) => schedule.operation_name, optional: true },
  { id: 'times', header: 'When', cell: (schedule) => <span title={schedule.cron}>{describeTimes(schedule)}</span>, text: describeTimes, optional: true },
  { id: 'next', header: 'Next', cell: (schedule) => <RelativeTime at={schedule.next_runs[0]} />, text: (schedule) => schedule.next_runs[0], optional: true },
  {
    id: 'last',
    header: 'Last run',
    cell: (schedule) =>
      schedule.last_run ? (
        <span style={{ display: 'inline-flex', alignItems: 'center', gap: 8, verticalAlign: 'middle' }}>
          <StatusBadge plain kind="run" state={schedule.last_run.state} />
          <Text span c="dimmed" inherit>
            <RelativeTime at={schedule.last_run.at} />
          </Text>
        </span>
      ) : (
        '–'
      ),
    text: (schedule) => schedule.last_run?.at,
    optional: true,
  },
  { id: 'kind', header: 'Kind', cell: (schedule) => (schedule.kind === 'service' ? 'built in' : 'operation'), text: (schedule) => schedule.kind, optional: true },
]

const filters = [
  {
    key: 'kind',
    label: 'Kind',
    options: [
      { value: 'operation', label: 'Operations' },
      { value: 'service', label: 'Built in' },
    ],
  },
]

export function ScheduleListPage() {
  const search = useSearch({ from: '/app/schedules' })
  const state = useListState(search)
  const query = useQuery(schedulesQuery(search))
  const add = useCan()('schedule.manage') ? (
    <Button leftSection={<IconPlus size={16} />} renderRoot={(props) => <Link {...props} to="/schedules/new" />}>
      New schedule
    </Button>
  ) : null
  return (
    <>
      <PageHeader title="Schedules" actions={add} lead="Operations at set times, and the manager’s own housekeeping." />
      <DataList
        name="schedules"
        label="Schedules"
        columns={columns}
        query={query}
        state={state}
        filters={filters}
        fetchPage={listSchedules}
        empty={
          <EmptyState icon={IconCalendarRepeat} title="No schedule yet" action={add}>
            A schedule runs an operation at set times: a program every night, a statement every hour. Each run is an operation like any other, with its steps and its end.
          </EmptyState>
        }
      />
    </>
  )
}
