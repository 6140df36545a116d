import { Alert, Anchor, Button, Group, Menu, Skeleton, Stack, Tabs, Text } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { IconAlertTriangle, IconEye, IconListCheck, IconLoader } from '@tabler/icons-react'
import { lazy, Suspense, useState } from 'react'
import type { Instance } from '@/api/types'
import { EditDialog } from '@/components/EditDialog'
import { EmptyState } from '@/components/EmptyState'
import { PageHeader } from '@/components/PageHeader'
import { ObjectProblem } from '@/components/ObjectProblem'
import { StatusBadge } from '@/components/StatusBadge'
import { RelativeTime } from '@/components/Time'
import { useListState } from '@/components/useListState'
import { useCan } from '@/features/access/api'
import { editionName } from '@/features/host/HostOverview'
import { operationTypesQuery } from '@/features/operation/api'
import { openOperation } from '@/features/operation/dialog'
import { OperationList } from '@/features/operation/OperationList'
import { OperationMenu } from '@/features/operation/OperationMenu'
import { editInstance, instanceQuery } from './api'
import { instanceName, proposedName } from './InstanceList'
import { InstanceOverview } from './InstanceOverview'
import { InstanceStatus } from './InstanceStatus'

const QueryTab = lazy(() => import('./QueryTab').then((module) => ({ default: module.QueryTab })))

export function InstancePage() {
  const { id } = useParams({ from: '/app/instances/$id' })
  const { tab, ...search } = useSearch({ from: '/app/instances/$id' })
  const navigate = useNavigate()
  const query = useQuery(instanceQuery(id))
  const state = useListState({ ...search, ...(tab ? { tab } : {}) }, ['tab'])
  const mayQuery = useQuery(operationTypesQuery).data?.some((type) => type.name === 'instance-query' && type.allowed) ?? false

  if (query.isError && !query.data) return <ObjectProblem kind="instance" error={query.error} retry={() => void query.refetch()} up={{ label: 'Instances', to: '/instances' }} />
  if (!query.data) {
    return (
      <Stack gap={16} role="status" aria-label="Reading the instance">
        <Skeleton height={28} width={240} />
        <Skeleton height={320} />
      </Stack>
    )
  }
  const { instance, etag } = query.data
  const managed = instance.management === 'managed'
  const tabs = managed && mayQuery ? (tab ?? 'overview') : tab === 'operations' ? tab : 'overview'
  return (
    <>
      <PageHeader
        title={instanceName(instance)}
        up={{ label: 'Instances', to: '/instances' }}
        status={
          <Group gap={8}>
            <InstanceStatus instance={instance} />
            {!managed && <StatusBadge kind="management" state={instance.management} />}
          </Group>
        }
        facts={[
          { label: 'Version', value: instance.version ? `${editionName(instance.edition)} ${instance.version}`.trim() : '–' },
          {
            label: 'Host and port',
            value: (
              <>
                <Link to="/hosts/$id" params={{ id: instance.host_id }} className="plain">
                  {instance.host_name}
                </Link>
                {instance.port ? `:${instance.port}` : ''}
              </>
            ),
          },
          { label: instance.status === 'running' ? 'Up since' : 'Status since', value: <RelativeTime at={instance.status === 'running' ? (instance.started_at ?? instance.status_at) : instance.status_at} /> },
        ]}
        actions={<Actions instance={instance} etag={etag} />}
      />
      <Notices instance={instance} />
      <Tabs value={tabs} onChange={(value) => void navigate({ to: '.', search: value === 'overview' ? {} : { tab: value as 'query' | 'operations' } })}>
        <Tabs.List mb={16}>
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          {managed && mayQuery && <Tabs.Tab value="query">Query</Tabs.Tab>}
          <Tabs.Tab value="operations">Operations</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview">
          <InstanceOverview instance={instance} />
        </Tabs.Panel>
        <Tabs.Panel value="query">
          <Suspense fallback={<Skeleton height={200} />}>
            <QueryTab instance={instance} />
          </Suspense>
        </Tabs.Panel>
        <Tabs.Panel value="operations">
          <OperationList
            state={state}
            fixed={{ target_id: id }}
            without={['target', 'host']}
            empty={
              <EmptyState icon={IconListCheck} title="No operation on this instance yet">
                Whatever is done to {instanceName(instance)} is kept here.
              </EmptyState>
            }
          />
        </Tabs.Panel>
      </Tabs>
    </>
  )
}

function Notices({ instance }: { instance: Instance }) {
  const current = instance.current_operation
  return (
    <Stack gap={12} mb={16} style={{ display: current || instance.conflict ? 'flex' : 'none' }}>
      {current && (
        <Alert color="blue" icon={<IconLoader />}>
          <Text size="sm" c="var(--mantine-color-text)" className="prose">
            <Anchor size="sm" fw={500} renderRoot={(props) => <Link {...props} to="/operations/$id" params={{ id: current.id }} />}>
              {current.title}
            </Anchor>{' '}
            is {current.state} on this instance.
          </Text>
        </Alert>
      )}
      {instance.conflict && (
        <Alert color="amber" icon={<IconAlertTriangle />} title="Another agent holds this instance">
          <Text size="sm" c="var(--mantine-color-text)">
            The agent of {instance.conflict} works on the same data directory. This one leaves it alone until the other is gone.
          </Text>
        </Alert>
      )}
    </Stack>
  )
}

// actionsOf tells what to offer first, and what makes no sense, in a status.
function actionsOf(status: Instance['status']): { first: string[]; without: string[] } {
  switch (status) {
    case 'running':
    case 'starting':
      return { first: ['instance-restart', 'instance-stop'], without: ['instance-start', 'instance-adopt', 'instance-query'] }
    case 'stopped':
    case 'crashed':
      return { first: ['instance-start'], without: ['instance-stop', 'instance-reload', 'instance-restart', 'instance-adopt', 'instance-query'] }
    default:
      return { first: [], without: ['instance-adopt', 'instance-query'] }
  }
}

function Actions({ instance, etag }: { instance: Instance; etag: string }) {
  const can = useCan()
  const client = useQueryClient()
  const [editing, setEditing] = useState(false)
  const adopt = useQuery(operationTypesQuery).data?.find((type) => type.name === 'instance-adopt')
  const managed = instance.management === 'managed'
  const target = { kind: 'instance' as const, id: instance.id, name: instanceName(instance) }
  const { first, without } = actionsOf(instance.status)
  return (
    <>
      {!managed && adopt?.allowed && (
        <Button leftSection={<IconEye size={16} />} onClick={() => openOperation({ name: 'instance-adopt', target, initial: { name: proposedName(instance) } })}>
          Adopt
        </Button>
      )}
      <OperationMenu
        target={target}
        managed={managed}
        first={managed ? first : []}
        without={without}
        extra={can('instance.manage') && managed ? <Menu.Item onClick={() => setEditing(true)}>Edit name and labels</Menu.Item> : null}
      />
      {editing && (
        <EditDialog
          title={`Edit ${instance.name}`}
          initial={instance}
          save={async (value) => {
            await editInstance(instance.id, etag, value)
            await client.invalidateQueries({ queryKey: ['instance', instance.id] })
            void client.invalidateQueries({ queryKey: ['instances'] })
          }}
          onClose={() => setEditing(false)}
        />
      )}
    </>
  )
}
