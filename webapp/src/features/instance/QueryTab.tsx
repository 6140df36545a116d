import { Alert, Anchor, Button, Checkbox, Group, Kbd, NumberInput, Stack, Text, Textarea } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { IconAlertOctagon, IconAlertTriangle, IconPlayerPlay, IconX } from '@tabler/icons-react'
import { useState } from 'react'
import { faultsByField } from '@/api/problem'
import { isFinal, type Instance, type Operation } from '@/api/types'
import { formatNumber } from '@/components/format'
import { Panel } from '@/components/Panel'
import { ProblemAlert } from '@/components/ProblemAlert'
import { QueryResult, resultOf } from '@/components/QueryResult'
import { Duration } from '@/components/Time'
import { commandOperation, operationQuery, runOperation } from '@/features/operation/api'

const draftKey = (id: string) => `pgdrover-query-${id}`

function draftOf(id: string): string {
  try {
    return sessionStorage.getItem(draftKey(id)) ?? ''
  } catch {
    return ''
  }
}

// QueryTab runs one statement as the operation instance-query and shows its rows.
export function QueryTab({ instance }: { instance: Instance }) {
  const [sql, setSql] = useState(() => draftOf(instance.id))
  const [maxRows, setMaxRows] = useState<number | string>(1000)
  const [timeout, setTimeoutSeconds] = useState<number | string>(30)
  const [changes, setChanges] = useState(false)
  const run = useMutation({
    mutationFn: () =>
      runOperation(
        'instance-query',
        { instance_id: instance.id, sql, max_rows: Number(maxRows), timeout_seconds: Number(timeout), ...(changes ? { allow_changes: true } : {}) },
        { waitSeconds: 2, key: crypto.randomUUID() },
      ),
  })
  // What did not end within the wait is followed by its events.
  const id = run.data?.id
  const followed = useQuery({ ...operationQuery(id ?? ''), enabled: id !== undefined && run.data !== undefined && !isFinal(run.data.state) })
  const operation = followed.data?.id === id ? (followed.data ?? run.data) : run.data
  const busy = run.isPending || (operation !== undefined && !isFinal(operation.state))
  const faults = faultsByField(run.error)

  const change = (text: string) => {
    setSql(text)
    try {
      sessionStorage.setItem(draftKey(instance.id), text)
    } catch {
      // Then it is kept as long as the page.
    }
  }
  const start = () => {
    if (sql.trim() !== '' && !busy) run.mutate()
  }
  return (
    <Stack gap={16}>
      <Panel>
        <Stack gap={12}>
          <Textarea
            label="SQL"
            description={`One statement on database ${instance.dbms_database ?? 'postgres'} as ${instance.dbms_user ?? 'the DBMS account'}. Its text is kept in the record: put no secret into it.`}
            placeholder="SELECT now(), version()"
            autosize
            minRows={5}
            maxRows={24}
            spellCheck={false}
            value={sql}
            error={faults.sql}
            styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13, lineHeight: '20px' } }}
            onChange={(event) => change(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
                event.preventDefault()
                start()
              }
            }}
          />
          <Group justify="space-between" align="end">
            <Group gap={16} align="end">
              <NumberInput label="Rows at most" size="xs" w={110} min={1} max={10_000} value={maxRows} onChange={setMaxRows} error={faults.max_rows} />
              <NumberInput label="Time limit, seconds" size="xs" w={150} min={1} max={3600} value={timeout} onChange={setTimeoutSeconds} error={faults.timeout_seconds} />
              <Checkbox label="Allow changes" size="sm" pb={5} checked={changes} onChange={(event) => setChanges(event.currentTarget.checked)} />
            </Group>
            <Group gap={12}>
              <Text size="xs" c="dimmed">
                <Kbd size="xs">Ctrl Enter</Kbd>
              </Text>
              <Button leftSection={<IconPlayerPlay size={16} />} onClick={start} loading={run.isPending} disabled={sql.trim() === '' || busy} color={changes ? 'amber' : undefined}>
                {changes ? 'Run and commit' : 'Run'}
              </Button>
            </Group>
          </Group>
          {changes && (
            <Alert color="amber" icon={<IconAlertTriangle />} p={8}>
              <Text size="sm" c="var(--mantine-color-text)">
                The statement runs outside a READ ONLY transaction and is committed.
              </Text>
            </Alert>
          )}
        </Stack>
      </Panel>
      {run.isError && <ProblemAlert error={run.error} title="The statement was not run" />}
      {operation && <Outcome operation={operation} />}
    </Stack>
  )
}

function Outcome({ operation }: { operation: Operation }) {
  const cancel = useMutation({ mutationFn: () => commandOperation(operation.id, 'cancel') })
  const link = (text: string) => (
    <Anchor size="sm" renderRoot={(props) => <Link {...props} to="/operations/$id" params={{ id: operation.id }} />}>
      {text}
    </Anchor>
  )
  if (!isFinal(operation.state)) {
    return (
      <Panel>
        <Group justify="space-between" role="status">
          <Text size="sm" className="prose">
            Running for <Duration from={operation.started_at ?? operation.accepted_at} />
            {operation.waiting_for ? `, waiting for the ${operation.waiting_for}` : ''}… {link('Open the operation')}
          </Text>
          <Button size="compact-sm" variant="default" leftSection={<IconX size={14} />} loading={cancel.isPending || operation.cancel_requested} onClick={() => cancel.mutate()}>
            Cancel
          </Button>
        </Group>
      </Panel>
    )
  }
  if (operation.failure) {
    return (
      <Alert color="red" icon={<IconAlertOctagon />} title={operation.state === 'canceled' ? 'It was canceled' : 'The statement failed'} role="alert">
        <Stack gap={4} c="var(--mantine-color-text)">
          <Text size="sm" className="mono" style={{ whiteSpace: 'pre-wrap' }}>
            {operation.failure.message}
          </Text>
          {operation.failure.hint ? <Text size="sm">{operation.failure.hint}</Text> : null}
          <Text size="xs" c="dimmed" className="prose">
            <span className="mono">{operation.failure.code}</span> · {link('the operation')}
          </Text>
        </Stack>
      </Alert>
    )
  }
  const result = resultOf(operation.result)
  return (
    <Panel
      title={result.columns.length > 0 ? `${formatNumber(result.rows.length)} ${result.rows.length === 1 ? 'row' : 'rows'}` : (result.command ?? 'Done')}
      actions={
        <Text size="sm" c="dimmed" className="prose">
          {result.seconds !== undefined ? `${(result.seconds * 1000).toFixed(2)} ms · ` : ''}
          {link('the operation')}
        </Text>
      }
      flush
    >
      <QueryResult result={result} />
    </Panel>
  )
}
