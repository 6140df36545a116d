import { queryOptions, useQuery } from '@tanstack/react-query'
import { api, take } from '@/api/client'
import type { Account } from '@/api/types'

export const meQuery = queryOptions({
  queryKey: ['me'],
  queryFn: ({ signal }): Promise<Account> => take(api.GET('/api/v1/me', { signal })),
  staleTime: 5 * 60_000,
})

export async function signIn(login: string, password: string): Promise<Account> {
  const session = await take(api.POST('/api/v1/sessions', { body: { login, password }, params: { header: { 'X-Pgdrover-Client': 'web' } } }))
  return session.account
}

export async function signOut(): Promise<void> {
  await take(api.DELETE('/api/v1/sessions/current'))
}

export function useAccount(): Account | undefined {
  return useQuery(meQuery).data
}

// useCan tells whether the signed-in person has a permission; what they may not do is not shown.
export function useCan(): (permission: string) => boolean {
  const account = useAccount()
  return (permission) => account?.permissions.includes(permission) ?? false
}
