import { ActionIcon, Progress as Bar, Text } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useLocation } from '@tanstack/react-router'
import { IconX } from '@tabler/icons-react'
import { useEffect } from 'react'
import { isFinal, type Operation } from '@/api/types'
import { stateWord } from '@/components/states'
import { StatusBadge } from '@/components/StatusBadge'
import { Duration } from '@/components/Time'
import { operationQuery, stepsQuery } from './api'
import classes from './RunningCards.module.css'
import { untrack, useTracked } from './tracked'

// RunningCards follow the person from page to page. When an operation ends its card says how, and goes.
export function RunningCards() {
  const tracked = useTracked()
  return (
    <section className={classes.cards} aria-label="Your operations">
      {tracked.map((id) => (
        <TrackedCard key={id} id={id} />
      ))}
    </section>
  )
}

function TrackedCard({ id }: { id: string }) {
  const client = useQueryClient()
  const here = useLocation({ select: (location) => location.pathname }) === `/operations/${id}`
  const { data: op, isError } = useQuery(operationQuery(id))
  const ended = op !== undefined && isFinal(op.state)
  const state = op?.state

  useEffect(() => {
    if (isError) untrack(id)
    if (!ended) return
    void client.invalidateQueries({ queryKey: ['instances'] })
    void client.invalidateQueries({ queryKey: ['instance'] })
    // Whoever looks at it needs no card. A failure stays longer: it is to be read.
    const timer = setTimeout(() => untrack(id), here ? 0 : state === 'succeeded' ? 6000 : 20_000)
    return () => clearTimeout(timer)
  }, [client, ended, here, id, isError, state])

  if (!op || here) return null
  return (
    <div className={classes.card} data-ended={ended || undefined}>
      <div className={classes.head}>
        <Link to="/operations/$id" params={{ id }} className={classes.title}>
          {op.title}
          {op.target_name && !op.title.includes(op.target_name) ? `: ${op.target_name}` : ''}
        </Link>
        <ActionIcon size="sm" variant="subtle" color="gray" aria-label={`${ended ? 'Close' : 'Stop following'} ${op.title}`} onClick={() => untrack(id)}>
          <IconX size={14} />
        </ActionIcon>
      </div>
      <div className={classes.line}>
        <StatusBadge plain kind="operation" state={op.state} />
        <Text size="xs" c="dimmed" span>
          <Duration from={op.started_at ?? op.accepted_at} to={op.ended_at} />
        </Text>
      </div>
      {ended ? <Ended operation={op} /> : <Current id={id} />}
    </div>
  )
}

function Ended({ operation }: { operation: Operation }) {
  return (
    <div role="status">
      <span className="visually-hidden">
        {operation.title}: {stateWord('operation', operation.state).word}
      </span>
      {operation.failure ? (
        <Text size="xs" lineClamp={3} mt={4}>
          {operation.failure.message}
        </Text>
      ) : null}
    </div>
  )
}

function Current({ id }: { id: string }) {
  const steps = useQuery(stepsQuery(id)).data
  const current = steps?.findLast((step) => step.state === 'running' || step.state === 'retrying')
  if (!current) return null
  const { progress } = current
  return (
    <>
      <Text size="xs" c="dimmed" truncate>
        {current.title}
      </Text>
      {progress && progress.total > 0 ? <Bar size="xs" mt={6} value={(progress.done / progress.total) * 100} aria-label={`Progress of ${current.title}`} /> : null}
    </>
  )
}
