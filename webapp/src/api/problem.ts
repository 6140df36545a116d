export interface FieldFault {
  location?: string
  message: string
  value?: unknown
}

interface ProblemBody {
  title?: string
  status?: number
  detail?: string
  code?: string
  errors?: FieldFault[] | null
  holder?: Holder
}

// Holder is the operation that holds the locks another one asked for.
export interface Holder {
  operation_id: string
  title: string
  actor: string
}

// Problem is an error of the API: the problem document's sentence, its stable code and the fields at fault.
export class Problem extends Error {
  readonly status: number
  readonly code: string
  readonly title: string
  readonly faults: FieldFault[]
  readonly holder: Holder | undefined

  constructor(status: number, body: ProblemBody) {
    super(body.detail || body.title || `The manager answered with status ${status}.`)
    this.name = 'Problem'
    this.status = status
    this.code = body.code ?? (status === 0 ? 'unreachable' : `http-${status}`)
    this.title = body.title ?? ''
    this.faults = body.errors ?? []
    this.holder = body.holder
  }
}

export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error
  // What fetch throws when there is no answer at all.
  if (error instanceof TypeError) {
    return new Problem(0, { detail: 'The manager cannot be reached. Check the network, then try again.', code: 'unreachable' })
  }
  return new Problem(0, { detail: error instanceof Error ? error.message : String(error), code: 'internal' })
}

// faultsByField turns the problem's `body.port` into `port`.
export function faultsByField(error: unknown): Record<string, string> {
  const out: Record<string, string> = {}
  if (!error) return out
  for (const fault of problemOf(error).faults) {
    const field = (fault.location ?? '').replace(/^body\.?/, '')
    if (field !== '') out[field] ??= fault.message
  }
  return out
}
