import { queryOptions } from '@tanstack/react-query'
import { api, take } from '@/api/client'

export const overviewQuery = queryOptions({
  queryKey: ['overview'],
  queryFn: ({ signal }) => take(api.GET('/api/v1/overview', { signal })),
})
