import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { IconArrowRight } from '@tabler/icons-react'
import type { Operation } from '@/api/types'
import { Facts } from '@/components/Facts'
import { fieldTitle } from '@/components/form/schema'
import { Panel } from '@/components/Panel'
import { hasRows } from '@/components/QueryResult'
import { isRecord, ValueView } from '@/components/ValueView'
import { operationTypesQuery } from './api'

// OutcomeView shows what an operation gave back, and leads to what it made.
export function OutcomeView({ operation }: { operation: Operation }) {
  const creates = useQuery(operationTypesQuery).data?.find((type) => type.name === operation.name)?.creates
  const result = isRecord(operation.result) ? operation.result : {}
  const made = creates === 'instance' ? operation.object_id : undefined
  // Rows are shown as a table of their own.
  const rows = Object.entries(result).filter(([name, value]) => value !== made && !(hasRows(result) && (name === 'columns' || name === 'rows')))
  if (rows.length === 0 && !made) return null
  return (
    <Panel title="Result">
      <Facts rows={rows.map(([name, value]) => ({ label: fieldTitle(name), value: <ValueView value={value} /> }))} />
      {made && (
        <Button mt={rows.length > 0 ? 12 : 0} variant="light" fullWidth rightSection={<IconArrowRight size={16} />} renderRoot={(props) => <Link {...props} to="/instances/$id" params={{ id: made }} />}>
          Open the instance
        </Button>
      )}
    </Panel>
  )
}
