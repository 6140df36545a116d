import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { api, ifMatch, listParams, take, takeWithEtag } from '@/api/client'
import type { Enrollment, Host, List } from '@/api/types'
import type { ListSearch } from '@/app/search'

export type HostSearch = ListSearch<'state' | 'online' | 'label'>

export function listHosts(search: HostSearch, signal?: AbortSignal): Promise<List<Host>> {
  return take(api.GET('/api/v1/hosts', { params: { query: listParams<'/api/v1/hosts'>(search) }, signal: signal ?? null }))
}

export const hostsQuery = (search: HostSearch) =>
  queryOptions({ queryKey: ['hosts', search], queryFn: ({ signal }) => listHosts(search, signal), placeholderData: keepPreviousData })

// The ETag is kept beside the host: an edit must name the version it was made from.
export const hostQuery = (id: string) =>
  queryOptions({
    queryKey: ['host', id],
    queryFn: async ({ signal }) => {
      const { data, etag } = await takeWithEtag(api.GET('/api/v1/hosts/{id}', { params: { path: { id } }, signal }))
      return { host: data, etag }
    },
  })

export interface Naming {
  name: string
  labels: Record<string, string>
}

export function addHost(body: Naming): Promise<Enrollment> {
  return take(api.POST('/api/v1/hosts', { body }))
}

export function editHost(id: string, etag: string, body: Naming): Promise<Host> {
  return take(api.PATCH('/api/v1/hosts/{id}', { params: { path: { id }, header: ifMatch(etag) }, body }))
}

export function newHostToken(id: string): Promise<Enrollment> {
  return take(api.POST('/api/v1/hosts/{id}/token', { params: { path: { id } } }))
}

export function revokeHost(id: string): Promise<Host> {
  return take(api.POST('/api/v1/hosts/{id}/revoke', { params: { path: { id } } }))
}

// refreshFacts asks the agent now; an absent one is a problem within seconds.
export function refreshFacts(id: string): Promise<Host> {
  return take(api.POST('/api/v1/hosts/{id}/refresh-facts', { params: { path: { id } } }))
}

export async function deleteHost(id: string): Promise<void> {
  await take(api.DELETE('/api/v1/hosts/{id}', { params: { path: { id } } }))
}
