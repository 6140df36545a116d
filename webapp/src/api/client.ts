import createClient from 'openapi-fetch'
import { Problem } from './problem'
import type { paths } from './schema.gen'
import { sessionFetch } from './session'

// The client of the API; its types come from the OpenAPI document (`npm run gen`).
export const api = createClient<paths>({
  baseUrl: window.location.origin,
  fetch: sessionFetch,
  headers: { 'X-Pgdrover-Client': 'web' },
})

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

// take gives the answer's data or throws the problem it is.
export async function take<T>(answer: Promise<Answer<T>>): Promise<NonNullable<T>> {
  const { data, error, response } = await answer
  if (!response.ok || error !== undefined) {
    throw new Problem(response.status, typeof error === 'object' && error !== null ? error : {})
  }
  return data as NonNullable<T>
}

export async function takeWithEtag<T>(answer: Promise<Answer<T>>): Promise<{ data: NonNullable<T>; etag: string }> {
  const pending = answer
  const data = await take(pending)
  return { data, etag: (await pending).response.headers.get('ETag') ?? '' }
}

// ifMatch names the version that an edit was made from.
export function ifMatch(etag: string): { 'If-Match'?: string } {
  return etag ? { 'If-Match': etag } : {}
}

// The parameters of a list as they are in the page's URL. They are words there; the manager checks them.
export function listParams<P extends ListPath>(search: Record<string, string | undefined>): NonNullable<paths[P]['get']['parameters']['query']> {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined && value !== ''))
}

type ListPath = '/api/v1/hosts' | '/api/v1/instances' | '/api/v1/operations' | '/api/v1/schedules' | '/api/v1/audit'
