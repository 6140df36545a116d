import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { api, listParams, take } from '@/api/client'
import type { AuditRecord, List } from '@/api/types'
import type { ListSearch } from '@/app/search'

export type AuditSearch = ListSearch<'actor' | 'action' | 'target_id' | 'result' | 'from' | 'to'>

export function listAudit(search: AuditSearch, signal?: AbortSignal): Promise<List<AuditRecord>> {
  return take(api.GET('/api/v1/audit', { params: { query: listParams<'/api/v1/audit'>(search) }, signal: signal ?? null }))
}

// No event tells of an audit record; the page reads it anew each time it is opened.
export const auditQuery = (search: AuditSearch) =>
  queryOptions({ queryKey: ['audit', search], queryFn: ({ signal }) => listAudit(search, signal), placeholderData: keepPreviousData, staleTime: 0 })
