// The state of a list lives in the URL, as plain words a person can read and send to a colleague.

export type Search = Record<string, string>

export function parseSearch(text: string): Search {
  const out: Search = {}
  for (const [key, value] of new URLSearchParams(text)) out[key] = value
  return out
}

export function stringifySearch(search: Record<string, unknown>): string {
  const params = new URLSearchParams()
  for (const [key, value] of Object.entries(search)) {
    // What is no word has no place in a URL.
    if ((typeof value === 'string' && value !== '') || typeof value === 'number' || typeof value === 'boolean') params.set(key, String(value))
  }
  const text = params.toString()
  return text ? `?${text}` : ''
}

const listKeys = ['q', 'sort', 'cursor', 'limit'] as const

export type ListSearch<Filter extends string = never> = { [K in (typeof listKeys)[number] | Filter]?: string }

// listSearch keeps the parameters that a list knows and drops the rest.
export function listSearch<Filter extends string = never>(...filters: Filter[]) {
  const known = new Set<string>([...listKeys, ...filters])
  return (raw: Record<string, unknown>): ListSearch<Filter> => {
    const out: Search = {}
    for (const [key, value] of Object.entries(raw)) {
      if (known.has(key) && typeof value === 'string' && value !== '') out[key] = value
    }
    return out as ListSearch<Filter>
  }
}
