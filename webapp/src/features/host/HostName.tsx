import { useQuery } from '@tanstack/react-query'
import { hostQuery } from './api'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-/

// HostName names a host of which only the id is known.
export function HostName({ id }: { id: string }) {
  const known = uuid.test(id)
  const { data } = useQuery({ ...hostQuery(id), enabled: known })
  return <>{known ? (data?.host.name ?? '…') : id}</>
}
