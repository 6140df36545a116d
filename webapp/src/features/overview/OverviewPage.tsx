import { Anchor, Button, SimpleGrid, Skeleton, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { IconCircleCheck, IconExternalLink } from '@tabler/icons-react'
import type { Operation, Overview } from '@/api/types'
import { PageHeader } from '@/components/PageHeader'
import { Panel } from '@/components/Panel'
import { ProblemAlert } from '@/components/ProblemAlert'
import { StatusBadge } from '@/components/StatusBadge'
import { Duration, RelativeTime } from '@/components/Time'
import { useCan } from '@/features/access/api'
import { operationsQuery } from '@/features/operation/api'
import { overviewQuery } from './api'
import { FirstSteps } from './FirstSteps'
import classes from './OverviewPage.module.css'

export function OverviewPage() {
  const query = useQuery(overviewQuery)
  const can = useCan()
  const data = query.data
  const teach = data !== undefined && (data.hosts.total === 0 || data.instances.total === 0)
  return (
    <>
      <PageHeader
        title="Overview"
        actions={
          data?.temporal_ui && can('system.temporal') ? (
            <Button variant="subtle" color="gray" component="a" href={data.temporal_ui} target="_blank" rel="noreferrer" rightSection={<IconExternalLink size={14} />}>
              Temporal
            </Button>
          ) : null
        }
      />
      {query.isError && !data && <ProblemAlert error={query.error} title="The overview could not be read" retry={() => void query.refetch()} />}
      {query.isPending && <Skeleton height={120} />}
      {data && (
        <Stack gap={16}>
          {teach && <FirstSteps overview={data} />}
          {data.hosts.total > 0 && <Health overview={data} />}
          <SimpleGrid cols={{ base: 1, lg: 2 }} spacing={16} style={{ alignItems: 'start' }}>
            <RunningPanel />
            <FailurePanel />
          </SimpleGrid>
        </Stack>
      )}
    </>
  )
}

interface Count {
  label: string
  value: number
  tone?: 'ok' | 'warn' | 'bad' | 'busy'
  link: Target
}

type Target = { to: '/instances' | '/hosts' | '/operations'; search?: Record<string, string> }

function Health({ overview }: { overview: Overview }) {
  const { hosts, instances, operations } = overview
  const status = (name: string) => instances.by_status[name] ?? 0
  const instanceCount = (name: string, label: string, tone: Count['tone']): Count => ({
    label,
    value: status(name),
    ...(tone ? { tone } : {}),
    link: { to: '/instances', search: { status: name } },
  })
  return (
    <SimpleGrid cols={{ base: 1, md: 3 }} spacing={16}>
      <HealthCard
        title="Instances"
        total={instances.total}
        link={{ to: '/instances' }}
        counts={[
          instanceCount('running', 'running', 'ok'),
          instanceCount('crashed', 'crashed', 'bad'),
          instanceCount('missing', 'missing', 'bad'),
          instanceCount('unknown', 'unknown', 'warn'),
          instanceCount('starting', 'starting', 'busy'),
          instanceCount('creating', 'being created', 'busy'),
          instanceCount('stopped', 'stopped', undefined),
          { label: 'discovered', value: instances.discovered, tone: 'busy', link: { to: '/instances', search: { management: 'discovered' } } },
        ]}
      />
      <HealthCard
        title="Hosts"
        total={hosts.total}
        link={{ to: '/hosts' }}
        counts={[
          { label: 'online', value: hosts.online, tone: 'ok', link: { to: '/hosts', search: { online: 'true' } } },
          { label: 'offline', value: hosts.offline, tone: 'bad', link: { to: '/hosts', search: { online: 'false', state: 'enrolled' } } },
          { label: 'invited', value: hosts.invited, tone: 'busy', link: { to: '/hosts', search: { state: 'invited' } } },
          { label: 'revoked', value: hosts.revoked, link: { to: '/hosts', search: { state: 'revoked' } } },
        ]}
      />
      <HealthCard
        title="Operations, last day"
        total={operations.succeeded_24h + operations.failed_24h}
        link={{ to: '/operations' }}
        counts={[
          { label: 'succeeded', value: operations.succeeded_24h, tone: 'ok', link: { to: '/operations', search: { state: 'succeeded' } } },
          { label: 'failed', value: operations.failed_24h, tone: 'bad', link: { to: '/operations', search: { state: 'failed' } } },
          { label: 'running', value: operations.running, tone: 'busy', link: { to: '/operations', search: { state: 'running' } } },
          { label: 'waiting', value: operations.waiting, tone: 'warn', link: { to: '/operations', search: { state: 'waiting' } } },
          { label: 'paused', value: operations.paused, tone: 'warn', link: { to: '/operations', search: { state: 'paused' } } },
        ]}
      />
    </SimpleGrid>
  )
}

function HealthCard({ title, total, link, counts }: { title: string; total: number; link: Target; counts: Count[] }) {
  const shown = counts.filter((count) => count.value > 0)
  const sum = shown.reduce((all, count) => all + count.value, 0)
  return (
    <section className={classes.card} aria-label={title}>
      <Link to={link.to} search={{}} className={classes.head}>
        <span>{title}</span>
        <span className={classes.total}>{total}</span>
      </Link>
      <div className={classes.bar} aria-hidden>
        {shown.map((count) => (
          <span key={count.label} data-tone={count.tone ?? 'idle'} style={{ flexGrow: count.value / sum }} />
        ))}
      </div>
      <ul className={classes.counts}>
        {shown.map((count) => (
          <li key={count.label}>
            <Link to={count.link.to} search={count.link.search ?? {}} className={classes.count}>
              <span className={classes.swatch} data-tone={count.tone ?? 'idle'} aria-hidden />
              <b className="num">{count.value}</b> {count.label}
            </Link>
          </li>
        ))}
        {shown.length === 0 && <li className={classes.none}>none</li>}
      </ul>
    </section>
  )
}

function OperationLines({ operations }: { operations: Operation[] }) {
  return (
    <ul className={classes.lines}>
      {operations.map((op) => (
        <li key={op.id}>
          <div className={classes.what}>
            <Anchor inherit fw={500} renderRoot={(props) => <Link {...props} to="/operations/$id" params={{ id: op.id }} />}>
              {op.title}
            </Anchor>{' '}
            <Text span c="dimmed" size="sm">
              {op.target_name}
            </Text>
            {op.failure ? (
              <Text size="sm" c="dimmed" truncate>
                {op.failure.message}
              </Text>
            ) : null}
          </div>
          <div className={classes.when}>
            <StatusBadge plain kind="operation" state={op.state} />
            <Text size="xs" c="dimmed">
              {op.ended_at ? <RelativeTime at={op.ended_at} /> : <Duration from={op.started_at ?? op.accepted_at} />}
            </Text>
          </div>
        </li>
      ))}
    </ul>
  )
}

function RunningPanel() {
  const query = useQuery(operationsQuery({ open: 'true', dry_run: 'false', limit: '8', sort: '-accepted_at' }))
  return (
    <Panel title="Running now" actions={<More search={{ open: 'true' }} />} flush>
      {query.isError && <ProblemAlert error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Skeleton height={48} m={16} />}
      {query.data?.items.length === 0 && <Quiet text="Nothing is running." />}
      {query.data && <OperationLines operations={query.data.items} />}
    </Panel>
  )
}

function FailurePanel() {
  const query = useQuery(operationsQuery({ state: 'failed', limit: '8', sort: '-accepted_at', dry_run: 'false' }))
  return (
    <Panel title="Recent failures" actions={<More search={{ state: 'failed' }} />} flush>
      {query.isError && <ProblemAlert error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Skeleton height={48} m={16} />}
      {query.data?.items.length === 0 && <Quiet text="No operation has failed." />}
      {query.data && <OperationLines operations={query.data.items} />}
    </Panel>
  )
}

function More({ search }: { search: Record<string, string> }) {
  return (
    <Anchor size="sm" renderRoot={(props) => <Link {...props} to="/operations" search={search} />}>
      All
    </Anchor>
  )
}

function Quiet({ text }: { text: string }) {
  return (
    <Text c="dimmed" size="sm" p={16} className={classes.quiet}>
      <IconCircleCheck size={18} aria-hidden color="var(--tone-ok)" /> {text}
    </Text>
  )
}
