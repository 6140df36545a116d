import { Alert, Button, Menu, Skeleton, Stack, Tabs, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { IconListCheck, IconPlugConnectedX, IconPlus } from '@tabler/icons-react'
import { useState } from 'react'
import type { Enrollment, Host } from '@/api/types'
import { ConfirmDialog } from '@/components/ConfirmDialog'
import { EditDialog } from '@/components/EditDialog'
import { EmptyState } from '@/components/EmptyState'
import { reportDone, reportProblem } from '@/components/notify'
import { PageHeader } from '@/components/PageHeader'
import { ObjectProblem } from '@/components/ObjectProblem'
import { hostState } from '@/components/states'
import { StatusBadge } from '@/components/StatusBadge'
import { RelativeTime } from '@/components/Time'
import { useListState } from '@/components/useListState'
import { useCan } from '@/features/access/api'
import { InstanceList } from '@/features/instance/InstanceList'
import { operationTypesQuery } from '@/features/operation/api'
import { OperationList } from '@/features/operation/OperationList'
import { OperationMenu } from '@/features/operation/OperationMenu'
import { EnrollDialog } from './AddHostDialog'
import { deleteHost, editHost, hostQuery, newHostToken, refreshFacts, revokeHost } from './api'
import { HostOverview } from './HostOverview'

export function HostPage() {
  const { id } = useParams({ from: '/app/hosts/$id' })
  const { tab, ...search } = useSearch({ from: '/app/hosts/$id' })
  const navigate = useNavigate()
  const query = useQuery(hostQuery(id))
  const state = useListState({ ...search, ...(tab ? { tab } : {}) }, ['tab'])

  if (query.isError && !query.data) return <ObjectProblem kind="host" error={query.error} retry={() => void query.refetch()} up={{ label: 'Hosts', to: '/hosts' }} />
  if (!query.data) {
    return (
      <Stack gap={16} role="status" aria-label="Reading the host">
        <Skeleton height={28} width={240} />
        <Skeleton height={320} />
      </Stack>
    )
  }
  const { host, etag } = query.data
  return (
    <>
      <PageHeader
        title={host.name}
        up={{ label: 'Hosts', to: '/hosts' }}
        status={<StatusBadge kind="host" state={hostState(host)} />}
        facts={[
          { label: 'System', value: host.os_name ?? '–' },
          { label: 'Instances', value: host.instance_count },
          { label: 'Last seen', value: <RelativeTime at={host.seen_at} never="never" /> },
        ]}
        actions={<Actions host={host} etag={etag} />}
      />
      {host.state === 'enrolled' && !host.online && (
        <Alert color="red" icon={<IconPlugConnectedX />} title="The agent is not connected" mb={16}>
          <Text size="sm" c="var(--mantine-color-text)">
            What is shown is what it said <RelativeTime at={host.facts_at} never="last" />. Check on the host: <span className="mono">systemctl status pgdrover-agent</span>. Operations on it wait until it
            is back.
          </Text>
        </Alert>
      )}
      <Tabs value={tab ?? 'overview'} onChange={(value) => void navigate({ to: '.', search: value === 'overview' ? {} : { tab: value as 'instances' | 'operations' } })}>
        <Tabs.List mb={16}>
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          <Tabs.Tab value="instances">Instances</Tabs.Tab>
          <Tabs.Tab value="operations">Operations</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview">
          <HostOverview host={host} />
        </Tabs.Panel>
        <Tabs.Panel value="instances">
          <InstanceList state={state} fixed={{ host_id: id }} without={['host']} />
        </Tabs.Panel>
        <Tabs.Panel value="operations">
          <OperationList
            state={state}
            fixed={{ host_id: id }}
            without={['host']}
            empty={
              <EmptyState icon={IconListCheck} title="No operation on this host yet">
                Whatever is done on {host.name} is kept here.
              </EmptyState>
            }
          />
        </Tabs.Panel>
      </Tabs>
    </>
  )
}

type Open = 'edit' | 'revoke' | 'delete' | undefined

function Actions({ host, etag }: { host: Host; etag: string }) {
  const can = useCan()
  const client = useQueryClient()
  const navigate = useNavigate()
  const [open, setOpen] = useState<Open>()
  const [enrollment, setEnrollment] = useState<Enrollment>()
  const mayCreate = useQuery(operationTypesQuery).data?.some((type) => type.name === 'instance-create' && type.allowed)
  const token = useMutation({
    mutationFn: () => newHostToken(host.id),
    onSuccess: setEnrollment,
    onError: (error) => reportProblem('No token was made', error),
  })
  const refresh = useMutation({
    mutationFn: () => refreshFacts(host.id),
    onSuccess: () => {
      reportDone(`The facts of ${host.name} are new`)
      void stale()
    },
    onError: (error) => reportProblem('The agent gave no facts', error),
  })
  const stale = async () => {
    await client.invalidateQueries({ queryKey: ['host', host.id] })
    void client.invalidateQueries({ queryKey: ['hosts'] })
  }
  const manage = can('host.manage')
  const close = () => setOpen(undefined)
  return (
    <>
      {mayCreate && host.state === 'enrolled' && (
        <Button leftSection={<IconPlus size={16} />} renderRoot={(props) => <Link {...props} to="/instances/new" search={{ host_id: host.id }} />}>
          Create instance
        </Button>
      )}
      {manage && host.state !== 'enrolled' && (
        <Button variant={host.state === 'invited' ? 'filled' : 'default'} loading={token.isPending} onClick={() => token.mutate()}>
          New token
        </Button>
      )}
      <OperationMenu
        target={{ kind: 'host', id: host.id, name: host.name }}
        first={host.state === 'enrolled' ? ['host-command'] : []}
        without={['instance-create']}
        secondary
        extra={
          manage ? (
            <>
              {host.state === 'enrolled' && <Menu.Item onClick={() => refresh.mutate()}>Ask for new facts</Menu.Item>}
              <Menu.Item onClick={() => setOpen('edit')}>Edit name and labels</Menu.Item>
              {host.state === 'enrolled' && <Menu.Item onClick={() => token.mutate()}>New token</Menu.Item>}
            </>
          ) : null
        }
        dangers={
          manage ? (
            <>
              {host.state !== 'revoked' && (
                <Menu.Item className="danger" onClick={() => setOpen('revoke')}>
                  Revoke the agent
                </Menu.Item>
              )}
              <Menu.Item className="danger" onClick={() => setOpen('delete')} disabled={host.state === 'enrolled'}>
                Forget the host
              </Menu.Item>
            </>
          ) : null
        }
      />
      {open === 'edit' && (
        <EditDialog title={`Edit ${host.name}`} initial={host} save={(value) => editHost(host.id, etag, value).then(stale)} onClose={close} />
      )}
      {open === 'revoke' && (
        <ConfirmDialog title={`Revoke ${host.name}`} verb="Revoke" name={host.name} run={() => revokeHost(host.id).then(stale)} onClose={close}>
          Its agent is cut off within seconds and its certificate is no longer accepted. Instances on it go on running, unwatched. A new token enrols it again.
        </ConfirmDialog>
      )}
      {open === 'delete' && (
        <ConfirmDialog
          title={`Forget ${host.name}`}
          verb="Forget"
          name={host.name}
          run={async () => {
            await deleteHost(host.id)
            await navigate({ to: '/hosts' })
            client.removeQueries({ queryKey: ['host', host.id] })
            void client.invalidateQueries({ queryKey: ['hosts'] })
          }}
          onClose={close}
        >
          The record of the host and of its instances is removed. Nothing on the host itself is touched.
        </ConfirmDialog>
      )}
      {enrollment && <EnrollDialog enrollment={enrollment} onClose={() => setEnrollment(undefined)} />}
    </>
  )
}
