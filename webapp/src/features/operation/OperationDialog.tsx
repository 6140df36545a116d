import { Button, FocusTrap, Group, Modal, Skeleton, Stack, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useEffect, useMemo, useRef, useState } from 'react'
import type { OperationType } from '@/api/types'
import { DerivedForm } from '@/components/form/DerivedForm'
import { cleanSchema, defaultsOf, summaryOf } from '@/components/form/schema'
import { Facts } from '@/components/Facts'
import { ProblemAlert } from '@/components/ProblemAlert'
import { StatusBadge } from '@/components/StatusBadge'
import { operationTypesQuery } from './api'
import { CopyRequest } from './CopyRequest'
import { closeOperation, useDialogRequest, type DialogRequest } from './dialog'
import { PlanPreview, PlanSkeleton } from './PlanPreview'
import { useOperationRun } from './useOperationRun'

// OperationDialog runs any operation there is: its form is made of the operation's schema, so that a new one
// needs nothing here.
export function OperationDialog() {
  const request = useDialogRequest()
  const types = useQuery({ ...operationTypesQuery, enabled: request !== undefined })
  const type = types.data?.find((each) => each.name === request?.name)
  const title = type ? (request?.target ? `${type.title}: ${request.target.name}` : type.title) : 'Operation'
  return (
    <Modal opened={request !== undefined} onClose={closeOperation} title={title} size="lg">
      {/* The first Tab leads to the form, not to the cross. */}
      <FocusTrap.InitialFocus />
      {types.isError && <ProblemAlert error={types.error} retry={() => void types.refetch()} />}
      {types.isPending && <Skeleton height={120} />}
      {request && type && <DialogBody key={JSON.stringify(request)} request={request} type={type} />}
      {request && types.isSuccess && !type && <Text>There is no operation {request.name}.</Text>}
    </Modal>
  )
}

function DialogBody({ request, type }: { request: DialogRequest; type: OperationType }) {
  const navigate = useNavigate()
  const targetField = request.target ? `${request.target.kind}_id` : undefined
  const hidden = useMemo(() => (targetField ? [targetField, 'confirm_name'] : []), [targetField])
  const formId = `run-${type.name}`
  const questions = Object.keys(cleanSchema(type.input_schema, hidden).properties ?? {}).length
  const asksName = type.input_schema.properties?.confirm_name !== undefined
  const destroys = type.risk === 'destroy'
  const [typed, setTyped] = useState('')
  const [reviewing, setReviewing] = useState(questions === 0)

  const run = useOperationRun(
    type,
    { ...defaultsOf(type.input_schema), ...request.initial, ...(targetField && request.target ? { [targetField]: request.target.id } : {}), ...(asksName && request.target ? { confirm_name: request.target.name } : {}) },
    (operation) => {
      closeOperation()
      if (type.risk === 'read') void navigate({ to: '/operations/$id', params: { id: operation.id } })
    },
  )

  const review = () => {
    setReviewing(true)
    run.check.mutate()
  }
  // Without questions there is nothing to fill in: the plan is made at once.
  const { mutate: check } = run.check
  const asked = useRef(false)
  useEffect(() => {
    if (questions > 0 || asked.current) return
    asked.current = true
    check()
  }, [questions, check])

  const confirmed = !destroys || !request.target || typed === request.target.name

  return (
    <Stack gap={16}>
      <div>
        <Group gap={8} mb={4}>
          <StatusBadge kind="risk" state={type.risk} />
        </Group>
        <Text size="sm" c="dimmed">
          {type.doc}
        </Text>
      </div>
      {questions > 0 && (
        <div hidden={reviewing && !run.check.isError && Object.keys(run.faults).length === 0}>
          <DerivedForm id={formId} schema={type.input_schema} hidden={hidden} value={run.value} onChange={run.change} onSubmit={review} faults={run.faults} />
        </div>
      )}
      {reviewing && questions > 0 && !run.check.isError && <Facts rows={summaryOf(cleanSchema(type.input_schema, hidden), run.value)} />}
      {reviewing && run.check.isPending && <PlanSkeleton />}
      {reviewing && run.plan && <PlanPreview operation={run.plan} />}
      {run.error && <ProblemAlert error={run.error} title={run.send.isError ? 'The operation was not accepted' : 'The dry run was refused'} />}
      {reviewing && type.undo ? (
        <Text size="xs" c="dimmed">
          If it fails: {type.undo}
        </Text>
      ) : null}
      {reviewing && destroys && request.target && (
        <TextInput
          label={`Type ${request.target.name} to confirm`}
          value={typed}
          autoComplete="off"
          spellCheck={false}
          data-autofocus
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
      )}
      <Group justify="space-between">
        <CopyRequest type={type} input={run.input} />
        <Group gap={8}>
          {reviewing && questions > 0 ? (
            <Button variant="default" onClick={() => setReviewing(false)}>
              Back
            </Button>
          ) : (
            <Button variant="default" onClick={closeOperation}>
              Close
            </Button>
          )}
          {!reviewing || (run.check.isError && questions > 0 && !run.plan) ? (
            <Button type="submit" form={formId} loading={run.check.isPending}>
              Review the plan
            </Button>
          ) : run.holder ? (
            <Button onClick={() => run.send.mutate({ queue: true })} loading={run.send.isPending}>
              Run after that one
            </Button>
          ) : (
            <Button
              color={destroys ? 'red' : undefined}
              variant={run.plan?.failure && !destroys ? 'default' : 'filled'}
              disabled={!confirmed || run.check.isPending}
              loading={run.send.isPending}
              onClick={() => run.send.mutate({ queue: false })}
            >
              {run.plan?.failure ? `${type.title} all the same` : type.title}
            </Button>
          )}
        </Group>
      </Group>
    </Stack>
  )
}
