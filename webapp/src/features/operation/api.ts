import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { api, listParams, take } from '@/api/client'
import type { List, Operation, OperationType, OutputChunk, Step } from '@/api/types'
import type { ListSearch } from '@/app/search'

export type OperationSearch = ListSearch<'state' | 'name' | 'target_id' | 'host_id' | 'actor' | 'open' | 'dry_run' | 'schedule_id'>

export function listOperations(search: OperationSearch, signal?: AbortSignal): Promise<List<Operation>> {
  return take(api.GET('/api/v1/operations', { params: { query: listParams<'/api/v1/operations'>(search) }, signal: signal ?? null }))
}

export const operationsQuery = (search: OperationSearch) =>
  queryOptions({ queryKey: ['operations', search], queryFn: ({ signal }) => listOperations(search, signal), placeholderData: keepPreviousData })

export const operationQuery = (id: string) =>
  queryOptions({ queryKey: ['operation', id], queryFn: ({ signal }): Promise<Operation> => take(api.GET('/api/v1/operations/{id}', { params: { path: { id } }, signal })) })

export const stepsQuery = (id: string) =>
  queryOptions({
    queryKey: ['steps', id],
    queryFn: async ({ signal }) => (await take(api.GET('/api/v1/operations/{id}/steps', { params: { path: { id } }, signal }))).items as Step[],
  })

export const operationTypesQuery = queryOptions({
  queryKey: ['operation-types'],
  queryFn: async ({ signal }) => (await take(api.GET('/api/v1/operation-types', { signal }))).items as OperationType[],
  staleTime: Infinity,
})

export interface OutputPage {
  chunks: OutputChunk[]
  next_offset: number
}

export function readOutput(id: string, query: { step: string; offset: number }, signal: AbortSignal): Promise<OutputPage> {
  return take(api.GET('/api/v1/operations/{id}/output', { params: { path: { id }, query }, signal }))
}

export interface RunOptions {
  dryRun?: boolean
  // Wait for the lock instead of being refused.
  queue?: boolean
  key?: string
  waitSeconds?: number
}

// Each operation has a path of its own in the document, but all have one shape; a name that is known only when the
// page runs goes through any of them.
type AnyOperation = '/api/v1/operations/instance-start'

export function runOperation(name: string, input: Record<string, unknown>, options: RunOptions = {}): Promise<Operation> {
  return take(
    api.POST(`/api/v1/operations/${encodeURIComponent(name)}` as AnyOperation, {
      body: input as { instance_id: string },
      params: {
        query: { ...(options.dryRun ? { dry_run: true } : {}), ...(options.queue ? { on_conflict: 'wait' as const } : {}) },
        header: { ...(options.key ? { 'Idempotency-Key': options.key } : {}), ...(options.waitSeconds ? { Prefer: `wait=${options.waitSeconds}` } : {}) },
      },
    }),
  )
}

export type Command = 'cancel' | 'pause' | 'resume' | 'retry'

export function commandOperation(id: string, command: Command): Promise<Operation> {
  return take(api.POST(`/api/v1/operations/{id}/${command}`, { params: { path: { id } } }))
}
