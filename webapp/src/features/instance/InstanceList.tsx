import { Anchor, Button, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { IconDatabase, IconPlus } from '@tabler/icons-react'
import type { Instance } from '@/api/types'
import { Bytes } from '@/components/Bytes'
import { CopyId, ShortId } from '@/components/CopyId'
import { DataList, type Column } from '@/components/DataList'
import { EmptyState } from '@/components/EmptyState'
import { Labels, labelsText } from '@/components/Labels'
import type { Filter } from '@/components/ListToolbar'
import { statesOf } from '@/components/states'
import { RelativeTime } from '@/components/Time'
import { withoutTab, type ListState } from '@/components/useListState'
import { operationTypesQuery } from '@/features/operation/api'
import { openOperation } from '@/features/operation/dialog'
import { instancesQuery, listInstances, type InstanceSearch } from './api'
import { InstanceStatus } from './InstanceStatus'
import classes from './InstanceList.module.css'

export function instanceName(instance: Instance): string {
  return instance.name || instance.data_directory
}

function NameCell({ instance }: { instance: Instance }) {
  const type = useQuery(operationTypesQuery).data?.find((each) => each.name === 'instance-adopt')
  const discovered = instance.management === 'discovered'
  return (
    <span className={classes.name}>
      <Anchor inherit fw={500} renderRoot={(props) => <Link {...props} to="/instances/$id" params={{ id: instance.id }} />}>
        {instanceName(instance)}
      </Anchor>
      {discovered && <span className={classes.mark}>discovered</span>}
      {instance.management === 'ignored' && <span className={classes.mark}>ignored</span>}
      {discovered && type?.allowed && (
        <Button
          size="compact-xs"
          variant="light"
          aria-label={`Adopt ${instanceName(instance)}`}
          onClick={() => openOperation({ name: 'instance-adopt', target: { kind: 'instance', id: instance.id, name: instanceName(instance) }, initial: { name: proposedName(instance) } })}
        >
          Adopt
        </Button>
      )}
    </span>
  )
}

// proposedName is a name an instance without one may get: its host and port.
export function proposedName(instance: Instance): string {
  return `${instance.host_name}-${instance.port || 'pg'}`.replace(/[^A-Za-z0-9._-]/g, '-')
}

const columns: Column<Instance>[] = [
  { id: 'name', header: 'Name', sort: 'name', cell: (instance) => <NameCell instance={instance} />, text: instanceName },
  { id: 'status', header: 'Status', sort: 'status', cell: (instance) => <InstanceStatus instance={instance} plain />, text: (instance) => instance.status },
  {
    id: 'host',
    header: 'Host',
    sort: 'host_name',
    cell: (instance) => (
      <Link to="/hosts/$id" params={{ id: instance.host_id }} className="plain">
        {instance.host_name}
      </Link>
    ),
    text: (instance) => instance.host_name,
    optional: true,
  },
  { id: 'port', header: 'Port', sort: 'port', align: 'right', cell: (instance) => <span className="num">{instance.port || '–'}</span>, text: (instance) => instance.port, optional: true },
  { id: 'version', header: 'Version', sort: 'version', cell: (instance) => <span className="num">{instance.version ?? '–'}</span>, text: (instance) => instance.version, optional: true },
  { id: 'role', header: 'Role', cell: (instance) => instance.role || '–', text: (instance) => instance.role, optional: true },
  { id: 'size', header: 'Size', sort: 'size_bytes', align: 'right', cell: (instance) => <Bytes value={instance.size_bytes} />, text: (instance) => instance.size_bytes, optional: true },
  { id: 'started', header: 'Up since', sort: 'started_at', cell: (instance) => <RelativeTime at={instance.started_at} />, text: (instance) => instance.started_at, optional: true },
  { id: 'labels', header: 'Labels', cell: (instance) => <Labels labels={instance.labels} />, text: (instance) => labelsText(instance.labels), optional: true },
  { id: 'directory', header: 'Data directory', cell: (instance) => <CopyId value={instance.data_directory} />, text: (instance) => instance.data_directory, optional: 'hidden' },
  { id: 'id', header: 'Id', cell: (instance) => <ShortId value={instance.id} />, text: (instance) => instance.id, optional: 'hidden' },
]

const filters: Filter[] = [
  { key: 'status', label: 'Status', options: statesOf('instance') },
  { key: 'management', label: 'Management', options: statesOf('management') },
  { key: 'version', label: 'Version', placeholder: '17 or 17.4' },
  { key: 'label', label: 'Label', placeholder: 'env=production' },
]

interface Props {
  state: ListState
  fixed?: InstanceSearch
  without?: string[]
}

const nothingFixed: InstanceSearch = {}

export function InstanceList({ state, fixed = nothingFixed, without = [] }: Props) {
  const search = withoutTab(state.search)
  const query = useQuery(instancesQuery({ ...search, ...fixed }))
  const mayCreate = useQuery(operationTypesQuery).data?.some((type) => type.name === 'instance-create' && type.allowed)
  return (
    <DataList
      name="instances"
      label="Instances"
      columns={without.length > 0 ? columns.filter((column) => !without.includes(column.id)) : columns}
      query={query}
      state={state}
      filters={filters}
      searchLabel="Search instances"
      defaultSort="name"
      fetchPage={(page) => listInstances({ ...page, ...fixed })}
      empty={
        <EmptyState
          icon={IconDatabase}
          title="No instance yet"
          action={
            mayCreate ? (
              <Button leftSection={<IconPlus size={16} />} renderRoot={(props) => <Link {...props} to="/instances/new" search={fixed.host_id ? { host_id: fixed.host_id } : {}} />}>
                Create instance
              </Button>
            ) : null
          }
        >
          <Text inherit>
            An instance is one PostgreSQL server with its data directory. Create one on a host, or install an agent where some run already: it discovers them, and you adopt those
            you want to manage.
          </Text>
        </EmptyState>
      }
    />
  )
}
