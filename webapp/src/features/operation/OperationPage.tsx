import { Alert, Anchor, Button, Group, Skeleton, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams, useSearch } from '@tanstack/react-router'
import { IconAlertOctagon, IconClockExclamation, IconExternalLink, IconPlayerPause, IconPlayerPlay, IconRefresh, IconX } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import { isFinal, type Operation, type Step } from '@/api/types'
import { CopyId } from '@/components/CopyId'
import { Facts } from '@/components/Facts'
import { reportProblem } from '@/components/notify'
import { ObjectProblem } from '@/components/ObjectProblem'
import { PageHeader } from '@/components/PageHeader'
import { Panel } from '@/components/Panel'
import { ProblemAlert } from '@/components/ProblemAlert'
import { hasRows, QueryResult, resultOf } from '@/components/QueryResult'
import { stateWord } from '@/components/states'
import { StatusBadge } from '@/components/StatusBadge'
import { AbsoluteTime, Duration, RelativeTime } from '@/components/Time'
import { useCan } from '@/features/access/api'
import { commandOperation, operationQuery, operationTypesQuery, stepsQuery, type Command } from './api'
import { InputView } from './InputView'
import { OutcomeView } from './OutcomeView'
import classes from './OperationPage.module.css'
import { PlanSteps } from './PlanPreview'
import { StepList } from './StepList'
import { TargetLink } from './TargetLink'
import { track } from './tracked'

// OperationPage tells an operation as a story: what was asked, by whom, on what, and what came of it.
export function OperationPage() {
  const { id } = useParams({ from: '/app/operations/$id' })
  const { step } = useSearch({ from: '/app/operations/$id' })
  const operation = useQuery(operationQuery(id))
  const steps = useQuery(stepsQuery(id))

  if (operation.isError && !operation.data) {
    return <ObjectProblem kind="operation" error={operation.error} retry={() => void operation.refetch()} up={{ label: 'Operations', to: '/operations' }} />
  }
  if (!operation.data) return <PageSkeleton />
  const op = operation.data
  return (
    <>
      <PageHeader
        title={op.title}
        up={{ label: 'Operations', to: '/operations' }}
        status={
          <Group gap={8}>
            <StatusBadge kind="operation" state={op.state} />
            {op.dry_run && (
              <Text size="sm" c="dimmed" span>
                dry run
              </Text>
            )}
          </Group>
        }
        lead={<Asked operation={op} />}
        actions={<Commands operation={op} />}
      />
      <div className={classes.columns}>
        <Stack gap={16} className={classes.story}>
          <Notices operation={op} />
          <Panel title="Steps" actions={<StepsSummary operation={op} steps={steps.data} />}>
            {steps.isError && <ProblemAlert error={steps.error} retry={() => void steps.refetch()} />}
            {steps.data && steps.data.length > 0 ? (
              <StepList operation={op.id} steps={steps.data} selected={step ?? op.failure?.step} told={op.failure?.message} />
            ) : (
              <Text c="dimmed" size="sm">
                {stateWord('operation', op.state).means}
              </Text>
            )}
          </Panel>
          {hasRows(op.result) && (
            <Panel title="Rows" flush>
              <QueryResult result={resultOf(op.result)} />
            </Panel>
          )}
          {op.plan && op.plan.length > 0 ? (
            <Panel title="The plan">
              <PlanSteps plan={op.plan} failure={op.failure} />
            </Panel>
          ) : null}
        </Stack>
        <Stack gap={16} className={classes.aside}>
          <AboutPanel operation={op} />
          {op.state === 'succeeded' && !op.dry_run && <OutcomeView operation={op} />}
          <InputView operation={op} />
        </Stack>
      </div>
    </>
  )
}

function Asked({ operation: op }: { operation: Operation }) {
  return (
    <>
      {op.actor} asked for this <RelativeTime at={op.accepted_at} />
      {op.target_name ? (
        <>
          {' on '}
          <TargetLink operation={op} />
        </>
      ) : null}
      .
    </>
  )
}

function StepsSummary({ operation, steps }: { operation: Operation; steps: Step[] | undefined }) {
  const done = steps?.filter((step) => step.state === 'completed' && !step.undo).length ?? 0
  return (
    <Text size="sm" c="dimmed">
      {done} done · <Duration from={operation.started_at} to={operation.ended_at} />
    </Text>
  )
}

function Notices({ operation: op }: { operation: Operation }) {
  return (
    <>
      {op.failure && op.state !== 'succeeded' && <FailureAlert operation={op} />}
      {op.state === 'waiting' && (
        <Alert color="amber" icon={<IconClockExclamation />} title="It waits for its turn">
          <Text size="sm" c="var(--mantine-color-text)">
            {op.waiting_for === 'lock' ? 'Another operation holds what this one needs. It starts when that one ends.' : `It waits for: ${op.waiting_for}.`}
          </Text>
        </Alert>
      )}
      {!isFinal(op.state) && op.host_id && !op.host_online && (
        <Alert color="amber" icon={<IconClockExclamation />} title={`${op.host_name} is offline`}>
          <Text size="sm" c="var(--mantine-color-text)">
            Steps on this host go on as soon as its agent is connected again. Nothing is lost meanwhile.
          </Text>
        </Alert>
      )}
      {op.late && !isFinal(op.state) && (
        <Alert color="amber" icon={<IconClockExclamation />} title="It takes longer than it should">
          <Text size="sm" c="var(--mantine-color-text)">
            It was expected to end by <AbsoluteTime at={op.deadline_at} />. It still runs: being late ends nothing.
          </Text>
        </Alert>
      )}
      {op.cancel_requested && !isFinal(op.state) && (
        <Alert color="amber" icon={<IconX />} title="Canceling">
          <Text size="sm" c="var(--mantine-color-text)">
            The running step is being stopped, then what was done is undone.
          </Text>
        </Alert>
      )}
    </>
  )
}

function FailureAlert({ operation: op }: { operation: Operation }) {
  if (!op.failure) return null
  const undone = op.undone ? stateWord('undone', op.undone) : undefined
  const canceled = op.state === 'canceled'
  return (
    <Alert color={canceled ? 'gray' : 'red'} icon={<IconAlertOctagon />} title={canceled ? 'It was canceled' : 'It failed'} role="alert">
      <Stack gap={4} c="var(--mantine-color-text)">
        <Text size="sm">{op.failure.message}</Text>
        {op.failure.hint ? (
          <Text size="sm" fw={500}>
            {op.failure.hint}
          </Text>
        ) : null}
        {undone ? (
          <Text size="sm">
            <b>{undone.word}.</b> {undone.means}
          </Text>
        ) : null}
        <Text size="xs" c="dimmed" className="prose">
          <span className="mono">{op.failure.code}</span>
          {op.failure.step ? (
            <>
              {' in '}
              <Anchor size="xs" href={`#step-${op.failure.step}`}>
                {op.failure.step}
              </Anchor>
            </>
          ) : null}
        </Text>
      </Stack>
    </Alert>
  )
}

function Commands({ operation: op }: { operation: Operation }) {
  const client = useQueryClient()
  const can = useCan()
  const type = useQuery(operationTypesQuery).data?.find((each) => each.name === op.name)
  const command = useMutation({
    mutationFn: (name: Command) => commandOperation(op.id, name),
    onSuccess: (answer: Operation | undefined, name) => {
      if (name === 'retry' && answer) track(answer.id)
      void client.invalidateQueries({ queryKey: ['operation', op.id] })
      void client.invalidateQueries({ queryKey: ['operations'] })
    },
    onError: (error, name) => reportProblem(`The operation could not be ${words[name]}`, error),
  })
  const open = !isFinal(op.state)
  const control = can('operation.control')
  const button = (name: Command, label: string, icon: ReactNode, color?: string) => (
    <Button
      key={name}
      variant={name === 'retry' ? 'filled' : 'default'}
      color={color}
      c={color ? `var(--mantine-color-${color}-text)` : undefined}
      leftSection={icon}
      loading={command.isPending && command.variables === name}
      onClick={() => command.mutate(name)}
    >
      {label}
    </Button>
  )
  return (
    <>
      {control && op.state === 'running' && !op.cancel_requested && button('pause', 'Pause', <IconPlayerPause size={16} />)}
      {control && op.state === 'paused' && button('resume', 'Resume', <IconPlayerPlay size={16} />)}
      {control && open && type?.cancel !== 'never' && !op.cancel_requested && button('cancel', 'Cancel', <IconX size={16} />, 'red')}
      {control && (op.state === 'failed' || op.state === 'canceled') && !op.dry_run && button('retry', 'Retry', <IconRefresh size={16} />)}
      {can('system.temporal') && op.temporal_url ? (
        <Button variant="subtle" color="gray" component="a" href={op.temporal_url} target="_blank" rel="noreferrer" rightSection={<IconExternalLink size={14} />}>
          Temporal
        </Button>
      ) : null}
    </>
  )
}

const words: Record<Command, string> = { cancel: 'canceled', pause: 'paused', resume: 'resumed', retry: 'retried' }

function AboutPanel({ operation: op }: { operation: Operation }) {
  return (
    <Panel title="About">
      <Facts
        rows={[
          { label: 'Operation', value: <span className="mono">{op.name}</span> },
          { label: 'Risk', value: <StatusBadge plain kind="risk" state={op.risk} /> },
          op.target_name !== '' && { label: 'Target', value: <TargetLink operation={op} /> },
          Boolean(op.host_id) && {
            label: 'Host',
            value: (
              <Link to="/hosts/$id" params={{ id: op.host_id ?? '' }}>
                {op.host_name}
              </Link>
            ),
          },
          { label: 'Asked by', value: op.actor },
          Boolean(op.schedule_id) && {
            label: 'Schedule',
            value: (
              <Link to="/schedules/$id" params={{ id: op.schedule_id ?? '' }}>
                by its schedule
              </Link>
            ),
          },
          Boolean(op.retry_of) && {
            label: 'Retry of',
            value: (
              <Link to="/operations/$id" params={{ id: op.retry_of ?? '' }}>
                an earlier one
              </Link>
            ),
          },
          { label: 'Accepted', value: <AbsoluteTime at={op.accepted_at} /> },
          Boolean(op.started_at) && { label: 'Started', value: <AbsoluteTime at={op.started_at} /> },
          Boolean(op.ended_at) && { label: 'Ended', value: <AbsoluteTime at={op.ended_at} /> },
          { label: 'Id', value: <CopyId value={op.id} label="Copy id" /> },
        ]}
      />
    </Panel>
  )
}


function PageSkeleton() {
  return (
    <Stack gap={16} role="status" aria-label="Reading the operation">
      <Skeleton height={28} width={320} />
      <Skeleton height={16} width={240} />
      <Skeleton height={240} mt={12} />
    </Stack>
  )
}
