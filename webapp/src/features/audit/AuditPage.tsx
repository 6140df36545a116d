import { Anchor, Popover, Text, UnstyledButton } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useSearch } from '@tanstack/react-router'
import { IconShieldCheck } from '@tabler/icons-react'
import type { AuditRecord } from '@/api/types'
import { CodeBlock } from '@/components/Code'
import { ShortId } from '@/components/CopyId'
import { DataList, type Column } from '@/components/DataList'
import { EmptyState } from '@/components/EmptyState'
import type { Filter } from '@/components/ListToolbar'
import { PageHeader } from '@/components/PageHeader'
import { statesOf } from '@/components/states'
import { StatusBadge } from '@/components/StatusBadge'
import { AbsoluteTime } from '@/components/Time'
import { useListState } from '@/components/useListState'
import { auditQuery, listAudit, type AuditSearch } from './api'

function detailOf(record: AuditRecord): string {
  const { detail } = record
  if (typeof detail !== 'object' || detail === null || Object.keys(detail).length === 0) return ''
  return JSON.stringify(detail)
}

function Detail({ record }: { record: AuditRecord }) {
  const text = detailOf(record)
  if (!text) return <>–</>
  return (
    <Popover width={420} position="left" withinPortal trapFocus returnFocus>
      <Popover.Target>
        <UnstyledButton style={{ borderRadius: 4, verticalAlign: 'middle' }} aria-label={`Detail of ${record.action}`}>
          <Text span size="xs" c="dimmed" className="mono" truncate display="block" maw={200}>
            {text}
          </Text>
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown>
        <CodeBlock label="the detail" text={JSON.stringify(record.detail, null, 2)} />
      </Popover.Dropdown>
    </Popover>
  )
}

function Action({ record }: { record: AuditRecord }) {
  const id = record.operation_id
  if (!id) return <span className="mono">{record.action}</span>
  return (
    <Anchor inherit className="mono" renderRoot={(props) => <Link {...props} to="/operations/$id" params={{ id }} />}>
      {record.action}
    </Anchor>
  )
}

function Target({ record }: { record: AuditRecord }) {
  const name = record.target_name || record.target_id || '–'
  const id = record.target_id
  if (record.target_kind === 'host' && id) return <Link to="/hosts/$id" params={{ id }} className="plain">{name}</Link>
  if (record.target_kind === 'instance' && id) return <Link to="/instances/$id" params={{ id }} className="plain">{name}</Link>
  if (record.target_kind === 'schedule' && id) return <Link to="/schedules/$id" params={{ id }} className="plain">{name}</Link>
  return <>{name}</>
}

const columns: Column<AuditRecord>[] = [
  { id: 'at', header: 'At', sort: 'at', cell: (record) => <AbsoluteTime at={record.at} />, text: (record) => record.at },
  { id: 'actor', header: 'Who', sort: 'actor', cell: (record) => record.actor, text: (record) => record.actor },
  { id: 'action', header: 'Did', sort: 'action', cell: (record) => <Action record={record} />, text: (record) => record.action },
  { id: 'target', header: 'To', cell: (record) => <Target record={record} />, text: (record) => record.target_name },
  { id: 'result', header: 'Result', cell: (record) => <StatusBadge plain kind="audit" state={record.result} />, text: (record) => record.result },
  { id: 'operation', header: 'Operation', cell: (record) => <ShortId value={record.operation_id ?? ''} />, text: (record) => record.operation_id, optional: 'hidden' },
  { id: 'from', header: 'From', cell: (record) => <span className="mono">{record.remote_address ?? '–'}</span>, text: (record) => record.remote_address, optional: true },
  { id: 'detail', header: 'Detail', cell: (record) => <Detail record={record} />, text: detailOf, optional: true },
  { id: 'target_id', header: 'Id', cell: (record) => <ShortId value={record.target_id ?? ''} />, text: (record) => record.target_id, optional: 'hidden' },
]

const filters: Filter[] = [
  { key: 'actor', label: 'Who', placeholder: 'login' },
  { key: 'action', label: 'Did', placeholder: 'instance-stop' },
  { key: 'result', label: 'Result', options: statesOf('audit') },
  { key: 'from', label: 'From', input: 'datetime-local' },
  { key: 'to', label: 'To', input: 'datetime-local' },
]

// The URL keeps what the person typed; the API wants an instant.
function instant(text: string | undefined): string | undefined {
  if (!text) return undefined
  const time = new Date(text)
  return Number.isNaN(time.getTime()) ? text : time.toISOString()
}

function withInstants(search: AuditSearch): AuditSearch {
  const { from, to, ...rest } = search
  const start = instant(from)
  const end = instant(to)
  return { ...rest, ...(start ? { from: start } : {}), ...(end ? { to: end } : {}) }
}

export function AuditPage() {
  const search = useSearch({ from: '/app/audit' })
  const state = useListState(search)
  const query = useQuery(auditQuery(withInstants(search)))
  return (
    <>
      <PageHeader title="Audit" lead="Who changed what, and what was refused to whom. Nothing here can be edited." />
      <DataList
        name="audit"
        label="Audit"
        columns={columns}
        query={query}
        state={state}
        filters={filters}
        searchLabel="Search the audit"
        defaultSort="-at"
        fetchPage={(page) => listAudit(withInstants(page))}
        empty={
          <EmptyState icon={IconShieldCheck} title="Nothing to audit yet">
            Signing in, every change and everything refused is written here in the same transaction as the thing itself.
          </EmptyState>
        }
      />
    </>
  )
}
