import { Anchor, Button, Group, Menu, SimpleGrid, Skeleton, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { IconDots, IconPlayerPause, IconPlayerPlay } from '@tabler/icons-react'
import { useState } from 'react'
import type { Schedule } from '@/api/types'
import { CodeBlock } from '@/components/Code'
import { ConfirmDialog } from '@/components/ConfirmDialog'
import { CopyId } from '@/components/CopyId'
import { DataList, type Column } from '@/components/DataList'
import { Facts } from '@/components/Facts'
import { formatInterval } from '@/components/format'
import { reportDone, reportProblem } from '@/components/notify'
import { PageHeader } from '@/components/PageHeader'
import { Panel } from '@/components/Panel'
import { ObjectProblem } from '@/components/ObjectProblem'
import { StatusBadge } from '@/components/StatusBadge'
import { AbsoluteTime, Duration, RelativeTime } from '@/components/Time'
import { useListState } from '@/components/useListState'
import { useCan } from '@/features/access/api'
import { commandSchedule, deleteSchedule, scheduleQuery, scheduleRunsQuery, type Run } from './api'
import { describeTimes } from './describe'
import { NextRuns } from './NextRuns'

const overlaps: Record<Schedule['overlap'], string> = { skip: 'is left out', queue: 'waits its turn', allow: 'begins all the same' }

export function SchedulePage() {
  const { id } = useParams({ from: '/app/schedules/$id' })
  const query = useQuery(scheduleQuery(id))
  if (query.isError && !query.data) return <ObjectProblem kind="schedule" error={query.error} retry={() => void query.refetch()} up={{ label: 'Schedules', to: '/schedules' }} />
  if (!query.data) {
    return (
      <Stack gap={16} role="status" aria-label="Reading the schedule">
        <Skeleton height={28} width={240} />
        <Skeleton height={320} />
      </Stack>
    )
  }
  const { schedule } = query.data
  return (
    <>
      <PageHeader
        title={schedule.name}
        up={{ label: 'Schedules', to: '/schedules' }}
        status={<StatusBadge kind="schedule" state={schedule.paused ? 'paused' : 'active'} />}
        facts={[
          { label: 'When', value: describeTimes(schedule) },
          { label: 'Next', value: <RelativeTime at={schedule.next_runs[0]} never={schedule.paused ? 'when resumed' : 'never again'} /> },
          { label: 'Last run', value: <RelativeTime at={schedule.last_run?.at} never="not yet" /> },
        ]}
        actions={<Actions schedule={schedule} />}
      />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing={16} style={{ alignItems: 'start' }}>
        <About schedule={schedule} />
        <Panel title="Next runs">
          {schedule.paused ? (
            <Text c="dimmed" size="sm">
              None while it is paused.
            </Text>
          ) : (
            <NextRuns times={schedule.next_runs} zone={schedule.time_zone} />
          )}
        </Panel>
      </SimpleGrid>
      <Text component="h2" fw={600} mt={24} mb={8}>
        Past runs
      </Text>
      <Runs id={id} />
    </>
  )
}

function About({ schedule }: { schedule: Schedule }) {
  const input = schedule.input && Object.keys(schedule.input).length > 0 ? JSON.stringify(schedule.input, null, 2) : ''
  return (
    <Panel title="About">
      <Stack gap={12}>
        <Facts
          rows={[
            { label: 'Runs', value: <span className="mono">{schedule.operation_name}</span> },
            Boolean(schedule.cron) && { label: 'Rule', value: <CopyId value={schedule.cron ?? ''} /> },
            Boolean(schedule.cron) && { label: 'Time zone', value: schedule.time_zone },
            { label: 'If the run before lasts', value: `the next one ${overlaps[schedule.overlap]}` },
            Boolean(schedule.jitter_seconds) && { label: 'Spread over', value: formatInterval(schedule.jitter_seconds ?? 0) },
            { label: 'Missed runs', value: `are made up for ${formatInterval(schedule.catchup_seconds)}` },
            Boolean(schedule.start_at) && { label: 'Not before', value: <AbsoluteTime at={schedule.start_at} /> },
            Boolean(schedule.end_at) && { label: 'Not after', value: <AbsoluteTime at={schedule.end_at} /> },
            { label: 'Made by', value: schedule.actor },
            { label: 'Id', value: <CopyId value={schedule.id} label="Copy id" /> },
          ]}
        />
        {input ? <CodeBlock label="the input" text={input} /> : null}
      </Stack>
    </Panel>
  )
}

function Actions({ schedule }: { schedule: Schedule }) {
  const can = useCan()
  const client = useQueryClient()
  const navigate = useNavigate()
  const [deleting, setDeleting] = useState(false)
  const command = useMutation({
    mutationFn: (name: 'pause' | 'resume' | 'run') => commandSchedule(schedule.id, name),
    onSuccess: (_, name) => {
      if (name === 'run') reportDone(`${schedule.name} runs now`)
      void client.invalidateQueries({ queryKey: ['schedule', schedule.id] })
      void client.invalidateQueries({ queryKey: ['schedules'] })
    },
    onError: (error, name) => reportProblem({ pause: 'It was not paused', resume: 'It was not resumed', run: 'It was not run' }[name], error),
  })
  if (!can('schedule.manage')) return null
  const own = schedule.kind === 'service'
  return (
    <>
      <Button leftSection={<IconPlayerPlay size={16} />} loading={command.isPending && command.variables === 'run'} onClick={() => command.mutate('run')}>
        Run now
      </Button>
      <Button
        variant="default"
        leftSection={schedule.paused ? <IconPlayerPlay size={16} /> : <IconPlayerPause size={16} />}
        loading={command.isPending && command.variables !== 'run'}
        onClick={() => command.mutate(schedule.paused ? 'resume' : 'pause')}
      >
        {schedule.paused ? 'Resume' : 'Pause'}
      </Button>
      {!own && (
        <Menu>
          <Menu.Target>
            <Button variant="default" px={10} aria-label={`More actions on ${schedule.name}`}>
              <IconDots size={18} />
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => void navigate({ to: '/schedules/$id/edit', params: { id: schedule.id } })}>Edit</Menu.Item>
            <Menu.Divider />
            <Menu.Item className="danger" onClick={() => setDeleting(true)}>
              Delete
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      )}
      {deleting && (
        <ConfirmDialog
          title={`Delete ${schedule.name}`}
          verb="Delete"
          name={schedule.name}
          run={async () => {
            await deleteSchedule(schedule.id)
            await navigate({ to: '/schedules' })
            client.removeQueries({ queryKey: ['schedule', schedule.id] })
            void client.invalidateQueries({ queryKey: ['schedules'] })
          }}
          onClose={() => setDeleting(false)}
        >
          It does not run any more. The operations it made stay in the record.
        </ConfirmDialog>
      )}
    </>
  )
}

const columns: Column<Run>[] = [
  { id: 'at', header: 'At', cell: (run) => <AbsoluteTime at={run.at} />, text: (run) => run.at },
  { id: 'state', header: 'State', cell: (run) => <StatusBadge plain kind="run" state={run.state} />, text: (run) => run.state },
  { id: 'took', header: 'Took', align: 'right', cell: (run) => <Duration from={run.at} to={run.ended_at} />, text: (run) => run.ended_at },
  {
    id: 'operation',
    header: 'Operation',
    cell: (run) =>
      run.operation_id ? (
        <Anchor inherit renderRoot={(props) => <Link {...props} to="/operations/$id" params={{ id: run.operation_id ?? '' }} />}>
          Open
        </Anchor>
      ) : (
        '–'
      ),
    text: (run) => run.operation_id,
  },
  { id: 'summary', header: 'What came of it', cell: (run) => run.summary ?? '', text: (run) => run.summary, width: 560 },
]

function Runs({ id }: { id: string }) {
  const search = useSearch({ from: '/app/schedules/$id' })
  const state = useListState(search)
  const query = useQuery(scheduleRunsQuery(id))
  return (
    <DataList
      name="runs"
      label="Past runs"
      columns={columns}
      query={query}
      state={state}
      empty={
        <Group p={24} justify="center">
          <Text c="dimmed">It has not run yet.</Text>
        </Group>
      }
    />
  )
}
