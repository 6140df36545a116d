import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { api, ifMatch, listParams, take, takeWithEtag } from '@/api/client'
import type { Instance, List } from '@/api/types'
import type { ListSearch } from '@/app/search'

export type InstanceSearch = ListSearch<'host_id' | 'status' | 'management' | 'version' | 'label'>

export function listInstances(search: InstanceSearch, signal?: AbortSignal): Promise<List<Instance>> {
  return take(api.GET('/api/v1/instances', { params: { query: listParams<'/api/v1/instances'>(search) }, signal: signal ?? null }))
}

export const instancesQuery = (search: InstanceSearch) =>
  queryOptions({ queryKey: ['instances', search], queryFn: ({ signal }) => listInstances(search, signal), placeholderData: keepPreviousData })

export const instanceQuery = (id: string) =>
  queryOptions({
    queryKey: ['instance', id],
    queryFn: async ({ signal }) => {
      const { data, etag } = await takeWithEtag(api.GET('/api/v1/instances/{id}', { params: { path: { id } }, signal }))
      return { instance: data, etag }
    },
  })

export function editInstance(id: string, etag: string, body: { name: string; labels: Record<string, string> }): Promise<Instance> {
  return take(api.PATCH('/api/v1/instances/{id}', { params: { path: { id }, header: ifMatch(etag) }, body }))
}
