// The shapes of the API under the names the pages use. They are generated; what is refined here is what the document
// leaves open: values that differ by operation, and schemas.
import type { components } from './schema.gen'

type Schemas = components['schemas']

export interface List<T> {
  items: T[]
  next_cursor?: string | undefined
  total: number
}

export type Account = Schemas['Account']
export type AuditRecord = Schemas['AuditRecord']
export type Binaries = Schemas['HostBinaries']
export type Disk = Schemas['HostDisk']
export type Enrollment = Schemas['Enrollment']
export type Facts = Schemas['HostFacts']
export type Failure = Schemas['Failure']
export type Host = Schemas['Host']
export type Instance = Schemas['Instance']
export type Notification = Schemas['Notification']
export type OutputChunk = Schemas['OutputChunk']
export type Overview = Schemas['Overview']
export type PlanStep = Schemas['PlanStep']
export type ScheduleRun = Schemas['ScheduleRun']
export type ScheduleBody = Schemas['ScheduleBody']
export type Times = Schemas['Times']

export type Operation = Schemas['Operation']
export type OperationState = Operation['state']
export type Risk = Operation['risk']

export type Schedule = Omit<Schemas['Schedule'], 'input'> & { input?: Record<string, unknown> }

export interface Progress {
  done: number
  total: number
  unit: string
  note?: string
}

export type Step = Omit<Schemas['Step'], 'progress'> & { progress?: Progress | null }

// A JSON Schema with the hints for forms.
export interface Schema {
  type?: string | string[]
  title?: string
  description?: string
  default?: unknown
  enum?: unknown[]
  format?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  additionalProperties?: boolean | Schema
  examples?: unknown[]
  readOnly?: boolean
  writeOnly?: boolean
  'x-group'?: string
  'x-advanced'?: string | boolean
  'x-widget'?: string
  [key: string]: unknown
}

export type OperationType = Omit<Schemas['OperationType'], 'input_schema' | 'output_schema'> & {
  input_schema: Schema
  output_schema: Schema
}

const finalStates: readonly OperationState[] = ['succeeded', 'failed', 'canceled']

export function isFinal(state: OperationState): boolean {
  return finalStates.includes(state)
}
