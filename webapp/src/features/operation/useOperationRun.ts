import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useRef, useState } from 'react'
import { faultsByField, problemOf } from '@/api/problem'
import type { Operation, OperationType } from '@/api/types'
import { compact } from '@/components/form/schema'
import { operationQuery, runOperation } from './api'
import { track } from './tracked'

// useOperationRun is the way of every operation's form: fill it in, see the plan, send it.
export function useOperationRun(type: OperationType | undefined, initial: Record<string, unknown>, onSent: (operation: Operation) => void) {
  const client = useQueryClient()
  const [value, setValue] = useState(initial)
  // One key for one intent: a second click or a lost answer makes no second operation.
  const key = useRef(crypto.randomUUID())
  const [plannedFor, setPlannedFor] = useState<string>()
  const input = compact(value)
  const fingerprint = JSON.stringify(input)
  const name = type?.name ?? ''

  const check = useMutation({
    mutationFn: () => runOperation(name, input, { dryRun: true, waitSeconds: 30 }),
    onSuccess: () => setPlannedFor(fingerprint),
  })
  const send = useMutation({
    mutationFn: (options: { queue: boolean }) => runOperation(name, input, { queue: options.queue, key: key.current }),
    onSuccess: (operation) => {
      client.setQueryData(operationQuery(operation.id).queryKey, operation)
      void client.invalidateQueries({ queryKey: ['operations'] })
      track(operation.id)
      onSent(operation)
    },
  })

  return {
    value,
    input,
    change: (next: Record<string, unknown>) => {
      setValue(next)
      if (JSON.stringify(compact(next)) === fingerprint) return
      // Another intent: what was answered to the one before no longer counts.
      key.current = crypto.randomUUID()
      if (check.isError || check.isSuccess) check.reset()
      if (send.isError) send.reset()
    },
    check,
    send,
    plan: plannedFor === fingerprint ? check.data : undefined,
    faults: { ...faultsByField(check.error), ...faultsByField(send.error) },
    error: send.error ?? check.error,
    holder: send.error ? problemOf(send.error).holder : undefined,
  }
}

export type OperationRun = ReturnType<typeof useOperationRun>
