import { QueryClient } from '@tanstack/react-query'
import { problemOf } from '@/api/problem'

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // The event stream says what changed; without an event what we have is good.
      staleTime: 30_000,
      refetchOnWindowFocus: false,
      retry: (count, error) => {
        const { status } = problemOf(error)
        return count < 2 && (status === 0 || status === 502 || status === 503 || status === 504)
      },
    },
  },
})
