import { ActionIcon, Progress as Bar, Text } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useLocation } from '@tanstack/react-router'
import { IconAlertOctagon, IconBan, IconCheck, IconX } from '@tabler/icons-react'
import { useEffect } from 'react'
import { isFinal, type Operation } from '@/api/types'
import { stateWord } from '@/components/states'
import { StatusBadge } from '@/components/StatusBadge'
import { Duration } from '@/components/Time'
import { operationQuery, stepsQuery } from './api'
import classes from './RunningCards.module.css'
import { untrack, useTracked } from './tracked'

// RunningCards follow the person from page to page until their operations end; then a toast says how.
export function RunningCards() {
  const tracked = useTracked()
  if (tracked.length === 0) return null
  return (
    <section className={classes.cards} aria-label="Your running operations">
      {tracked.map((id) => (
        <RunningCard key={id} id={id} />
      ))}
    </section>
  )
}

function RunningCard({ id }: { id: string }) {
  const client = useQueryClient()
  const path = useLocation({ select: (location) => location.pathname })
  const { data: op, isError } = useQuery(operationQuery(id))
  const steps = useQuery({ ...stepsQuery(id), enabled: op !== undefined && !isFinal(op.state) }).data
  const ended = op !== undefined && isFinal(op.state)

  useEffect(() => {
    if (isError) untrack(id)
    if (!ended) return
    untrack(id)
    toast(op)
    void client.invalidateQueries({ queryKey: ['instances'] })
    void client.invalidateQueries({ queryKey: ['instance'] })
  }, [client, ended, id, isError, op])

  if (!op || ended || path === `/operations/${id}`) return null
  const current = steps?.findLast((step) => step.state === 'running' || step.state === 'retrying')
  const progress = current?.progress
  return (
    <div className={classes.card}>
      <div className={classes.head}>
        <Link to="/operations/$id" params={{ id }} className={classes.title}>
          {op.title}
          {op.target_name && !op.title.includes(op.target_name) ? `: ${op.target_name}` : ''}
        </Link>
        <ActionIcon size="sm" variant="subtle" color="gray" aria-label={`Stop following ${op.title}`} onClick={() => untrack(id)}>
          <IconX size={14} />
        </ActionIcon>
      </div>
      <div className={classes.line}>
        <StatusBadge plain kind="operation" state={op.state} />
        <Text size="xs" c="dimmed" span>
          <Duration from={op.started_at ?? op.accepted_at} />
        </Text>
      </div>
      {current && (
        <Text size="xs" c="dimmed" truncate>
          {current.title}
        </Text>
      )}
      {progress && progress.total > 0 ? <Bar size="xs" mt={6} value={(progress.done / progress.total) * 100} aria-label={`Progress of ${current.title}`} /> : null}
    </div>
  )
}

function toast(op: Operation): void {
  const { word } = stateWord('operation', op.state)
  const good = op.state === 'succeeded'
  const ToastIcon = good ? IconCheck : op.state === 'failed' ? IconAlertOctagon : IconBan
  notifications.show({
    id: `operation-${op.id}`,
    color: good ? 'green' : op.state === 'failed' ? 'red' : 'gray',
    icon: <ToastIcon size={18} />,
    title: `${op.title}: ${word.toLowerCase()}`,
    autoClose: good ? 6000 : 15_000,
    message: (
      <>
        {op.failure ? `${op.failure.message} ` : ''}
        <Link to="/operations/$id" params={{ id: op.id }}>
          Open
        </Link>
      </>
    ),
  })
}
