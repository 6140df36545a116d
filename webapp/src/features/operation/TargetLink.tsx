import { Anchor } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import type { Operation } from '@/api/types'

// TargetLink leads to what an operation works on; the object it made, where it had none before.
export function TargetLink({ operation }: { operation: Pick<Operation, 'target_kind' | 'target_id' | 'target_name' | 'object_id'> }) {
  const { target_kind: kind, target_id: id } = operation
  const name = operation.target_name || (id ? `…${id.slice(-8)}` : '')
  if (kind === 'host' && id) return <Anchor inherit renderRoot={(props) => <Link {...props} to="/hosts/$id" params={{ id }} />}>{name}</Anchor>
  if (kind === 'instance' && id) return <Anchor inherit renderRoot={(props) => <Link {...props} to="/instances/$id" params={{ id }} />}>{name}</Anchor>
  return <>{name || '–'}</>
}
