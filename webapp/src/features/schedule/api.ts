import { queryOptions } from '@tanstack/react-query'
import { api, ifMatch, listParams, take, takeWithEtag } from '@/api/client'
import type { List, Schedule, ScheduleBody, ScheduleRun, Times } from '@/api/types'
import type { ListSearch } from '@/app/search'

export type ScheduleSearch = ListSearch<'kind'>

export async function listSchedules(search: ScheduleSearch, signal?: AbortSignal): Promise<List<Schedule>> {
  return (await take(api.GET('/api/v1/schedules', { params: { query: listParams<'/api/v1/schedules'>(search) }, signal: signal ?? null }))) as List<Schedule>
}

export const schedulesQuery = (search: ScheduleSearch) => queryOptions({ queryKey: ['schedules', search], queryFn: ({ signal }) => listSchedules(search, signal) })

export const scheduleQuery = (id: string) =>
  queryOptions({
    queryKey: ['schedule', id],
    queryFn: async ({ signal }) => {
      const { data, etag } = await takeWithEtag(api.GET('/api/v1/schedules/{id}', { params: { path: { id } }, signal }))
      return { schedule: data as Schedule, etag }
    },
  })

export type Run = ScheduleRun & { id: string }

export const scheduleRunsQuery = (id: string) =>
  queryOptions({
    queryKey: ['schedule', id, 'runs'],
    queryFn: async ({ signal }): Promise<List<Run>> => {
      const page = await take(api.GET('/api/v1/schedules/{id}/runs', { params: { path: { id }, query: { limit: 100 } }, signal }))
      return { ...page, items: page.items.map((run) => ({ ...run, id: run.at })) }
    },
  })

export const previewQuery = (times: Times) =>
  queryOptions({
    queryKey: ['schedule-preview', times],
    queryFn: async ({ signal }) => (await take(api.POST('/api/v1/schedules/preview', { body: times, signal }))).next_runs,
    retry: false,
  })

export async function createSchedule(body: ScheduleBody): Promise<Schedule> {
  return (await take(api.POST('/api/v1/schedules', { body }))) as Schedule
}

export async function replaceSchedule(id: string, etag: string, body: ScheduleBody): Promise<Schedule> {
  return (await take(api.PUT('/api/v1/schedules/{id}', { params: { path: { id }, header: ifMatch(etag) }, body }))) as Schedule
}

export async function deleteSchedule(id: string): Promise<void> {
  await take(api.DELETE('/api/v1/schedules/{id}', { params: { path: { id } } }))
}

export async function commandSchedule(id: string, command: 'pause' | 'resume' | 'run'): Promise<void> {
  await take(api.POST(`/api/v1/schedules/{id}/${command}`, { params: { path: { id } } }))
}
