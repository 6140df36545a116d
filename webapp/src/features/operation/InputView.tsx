import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import type { Operation } from '@/api/types'
import { CodeBlock } from '@/components/Code'
import { Facts } from '@/components/Facts'
import { Panel } from '@/components/Panel'
import { isRecord, ValueView } from '@/components/ValueView'
import { fieldTitle, orderedFields, secretFields } from '@/components/form/schema'
import { operationTypesQuery } from './api'

// InputView shows what was asked for, in the order and the words of the operation's form.
export function InputView({ operation }: { operation: Operation }) {
  const [raw, setRaw] = useState(false)
  const schema = useQuery(operationTypesQuery).data?.find((type) => type.name === operation.name)?.input_schema ?? {}
  const input = isRecord(operation.input) ? operation.input : {}
  const known = orderedFields(schema).map(([name]) => name)
  const names = [...known.filter((name) => name in input), ...Object.keys(input).filter((name) => !known.includes(name))]
  // The target is said above.
  const shown = names.filter((name) => input[name] !== operation.target_id)
  const secrets = secretFields(schema)
  if (shown.length === 0) return null
  return (
    <Panel
      title="What was asked"
      actions={
        <Button size="compact-xs" variant="subtle" color="gray" onClick={() => setRaw(!raw)}>
          {raw ? 'As a list' : 'As JSON'}
        </Button>
      }
    >
      {raw ? (
        <CodeBlock label="the input" text={JSON.stringify(input, null, 2)} />
      ) : (
        <Facts rows={shown.map((name) => ({ label: schema.properties?.[name]?.title ?? fieldTitle(name), value: secrets.has(name) ? 'kept as a secret' : <ValueView value={input[name]} /> }))} />
      )}
    </Panel>
  )
}
