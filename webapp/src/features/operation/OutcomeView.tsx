import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { IconArrowRight } from '@tabler/icons-react'
import type { Operation } from '@/api/types'
import { CodeBlock } from '@/components/Code'
import { Panel } from '@/components/Panel'
import { operationTypesQuery } from './api'

// OutcomeView shows what an operation gave back, and leads to what it made.
export function OutcomeView({ operation }: { operation: Operation }) {
  const creates = useQuery(operationTypesQuery).data?.find((type) => type.name === operation.name)?.creates
  const result = operation.result
  const empty = result === undefined || result === null || (typeof result === 'object' && Object.keys(result).length === 0)
  const made = creates === 'instance' && operation.object_id ? operation.object_id : undefined
  if (empty && !made) return null
  return (
    <Panel title="Result">
      {empty ? null : <CodeBlock label="the result" text={typeof result === 'string' ? result : JSON.stringify(result, null, 2)} />}
      {made && (
        <Button mt={empty ? 0 : 12} variant="light" fullWidth rightSection={<IconArrowRight size={16} />} renderRoot={(props) => <Link {...props} to="/instances/$id" params={{ id: made }} />}>
          Open the instance
        </Button>
      )}
    </Panel>
  )
}
