import { Anchor, Button, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link, useSearch } from '@tanstack/react-router'
import { IconPlus, IconServer2 } from '@tabler/icons-react'
import type { Host } from '@/api/types'
import { ShortId } from '@/components/CopyId'
import { DataList, type Column } from '@/components/DataList'
import { EmptyState } from '@/components/EmptyState'
import { Labels, labelsText } from '@/components/Labels'
import type { Filter } from '@/components/ListToolbar'
import { PageHeader } from '@/components/PageHeader'
import { hostState } from '@/components/states'
import { StatusBadge } from '@/components/StatusBadge'
import { RelativeTime } from '@/components/Time'
import { useListState } from '@/components/useListState'
import { useCan } from '@/features/access/api'
import { AddHostDialog } from './AddHostDialog'
import { hostsQuery, listHosts } from './api'

const columns: Column<Host>[] = [
  {
    id: 'name',
    header: 'Name',
    sort: 'name',
    cell: (host) => (
      <Anchor inherit fw={500} renderRoot={(props) => <Link {...props} to="/hosts/$id" params={{ id: host.id }} />}>
        {host.name}
      </Anchor>
    ),
    text: (host) => host.name,
  },
  { id: 'state', header: 'State', sort: 'state', cell: (host) => <StatusBadge plain kind="host" state={hostState(host)} />, text: hostState },
  { id: 'seen', header: 'Last seen', sort: 'seen_at', cell: (host) => <RelativeTime at={host.seen_at} never="never" />, text: (host) => host.seen_at, optional: true },
  {
    id: 'instances',
    header: 'Instances',
    align: 'right',
    cell: (host) => (
      <Link to="/instances" search={{ host_id: host.id }} className="plain num">
        {host.instance_count}
      </Link>
    ),
    text: (host) => host.instance_count,
    optional: true,
  },
  { id: 'os', header: 'System', cell: (host) => host.os_name ?? '–', text: (host) => host.os_name, optional: true },
  { id: 'agent', header: 'Agent', cell: (host) => <span className="num">{host.agent_version ?? '–'}</span>, text: (host) => host.agent_version, optional: true },
  { id: 'labels', header: 'Labels', cell: (host) => <Labels labels={host.labels} />, text: (host) => labelsText(host.labels), optional: true },
  { id: 'created', header: 'Added', sort: 'created_at', cell: (host) => <RelativeTime at={host.created_at} />, text: (host) => host.created_at, optional: 'hidden' },
  { id: 'id', header: 'Id', cell: (host) => <ShortId value={host.id} />, text: (host) => host.id, optional: 'hidden' },
]

const filters: Filter[] = [
  {
    key: 'online',
    label: 'Agent',
    options: [
      { value: 'true', label: 'Online' },
      { value: 'false', label: 'Offline' },
    ],
  },
  {
    key: 'state',
    label: 'State',
    options: [
      { value: 'invited', label: 'Invited' },
      { value: 'enrolled', label: 'Enrolled' },
      { value: 'revoked', label: 'Revoked' },
    ],
  },
  { key: 'label', label: 'Label', placeholder: 'env=production' },
]

export function HostListPage() {
  const search = useSearch({ from: '/app/hosts' })
  const state = useListState(search)
  const query = useQuery(hostsQuery(search))
  const can = useCan()
  const [adding, dialog] = useDisclosure(false)
  const add = can('host.manage') ? (
    <Button leftSection={<IconPlus size={16} />} onClick={dialog.open}>
      Add host
    </Button>
  ) : null
  return (
    <>
      <PageHeader title="Hosts" actions={query.data?.total === 0 ? null : add} />
      <DataList
        name="hosts"
        label="Hosts"
        columns={columns}
        query={query}
        state={state}
        filters={filters}
        searchLabel="Search hosts"
        defaultSort="name"
        fetchPage={listHosts}
        empty={
          <EmptyState icon={IconServer2} title="No host yet" action={add}>
            <Text inherit>
              A host is a machine that runs PostgreSQL. Its agent dials out to this manager, so no port has to be opened on it. Adding one gives you a single command
              to run there.
            </Text>
          </EmptyState>
        }
      />
      {adding && <AddHostDialog onClose={dialog.close} />}
    </>
  )
}
