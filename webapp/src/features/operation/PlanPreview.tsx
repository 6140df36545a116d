import { Skeleton, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { IconCheck, IconPencil, IconX } from '@tabler/icons-react'
import type { Failure, Operation, PlanStep } from '@/api/types'
import { formatDuration } from '@/components/format'
import { ProblemAlert } from '@/components/ProblemAlert'
import { Problem } from '@/api/problem'
import { HostName } from '@/features/host/HostName'
import { listOperations } from './api'
import classes from './PlanPreview.module.css'

interface Props {
  // The finished dry run.
  operation: Operation
}

// PlanPreview shows what a dry run found: what was checked and what would be done, in order.
export function PlanPreview({ operation }: Props) {
  const { plan, failure } = operation
  return (
    <Stack gap={12}>
      {failure && (
        <ProblemAlert
          title="The dry run found a problem"
          error={new Problem(422, { detail: [failure.message, failure.hint].filter(Boolean).join(' '), code: failure.code })}
        />
      )}
      {operation.state === 'running' || operation.state === 'accepted' ? (
        <Text c="dimmed" size="sm">
          The dry run has not ended yet. It goes on as an operation of its own.
        </Text>
      ) : null}
      {plan && plan.length > 0 ? <PlanSteps plan={plan} failure={failure} /> : null}
      {failure ? null : <LastTime name={operation.name} />}
    </Stack>
  )
}

export function PlanSteps({ plan, failure }: { plan: PlanStep[]; failure?: Failure | undefined }) {
  // What a look at the host found out is no failure of the step; the plan ends there all the same.
  const failed = failure ? (failure.step ?? plan.at(-1)?.step) : undefined
  return (
    <ol className={classes.plan}>
      {plan.map((step) => {
        const checked = step.does === 'checked'
        const bad = step.step === failed
        const StepIcon = bad ? IconX : checked ? IconCheck : IconPencil
        return (
          <li key={step.step}>
            <span className={bad ? classes.failed : checked ? classes.checked : classes.would} aria-hidden>
              <StepIcon size={14} />
            </span>
            <div>
              <div>{step.title}</div>
              <Text size="xs" c="dimmed">
                {bad ? 'stopped here' : step.does} · <span className="mono">{step.verb}</span>
                {step.host ? (
                  <>
                    {' '}
                    · <HostName id={step.host} />
                  </>
                ) : null}
              </Text>
            </div>
          </li>
        )
      })}
    </ol>
  )
}

export function PlanSkeleton() {
  return (
    <Stack gap={12} role="status" aria-label="Making the dry run">
      {[70, 55, 80, 62].map((width) => (
        <Skeleton key={width} height={12} width={`${width}%`} />
      ))}
    </Stack>
  )
}

// How long it took before tells what to expect better than any estimate.
function LastTime({ name }: { name: string }) {
  const last = useQuery({
    queryKey: ['operations', 'last', name],
    queryFn: ({ signal }) => listOperations({ name, state: 'succeeded', sort: '-accepted_at', limit: '10' }, signal),
  }).data?.items.find((operation) => !operation.dry_run)
  if (!last?.started_at || !last.ended_at) return null
  return (
    <Text size="xs" c="dimmed">
      The last one took {formatDuration(Date.parse(last.ended_at) - Date.parse(last.started_at))}.
    </Text>
  )
}
