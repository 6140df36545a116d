import { queryOptions } from '@tanstack/react-query'
import { api, take } from '@/api/client'

export const notificationsQuery = queryOptions({
  queryKey: ['notifications'],
  queryFn: ({ signal }) => take(api.GET('/api/v1/notifications', { params: { query: { limit: 30 } }, signal })),
})

export async function markRead(which: { ids: string[] } | { all: true }): Promise<void> {
  await take(api.POST('/api/v1/notifications/read', { body: which }))
}
