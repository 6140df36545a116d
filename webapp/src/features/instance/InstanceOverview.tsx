import { SimpleGrid } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { Instance } from '@/api/types'
import { Bytes } from '@/components/Bytes'
import { CodeBlock } from '@/components/Code'
import { CopyId } from '@/components/CopyId'
import { Facts } from '@/components/Facts'
import { Labels } from '@/components/Labels'
import { Panel } from '@/components/Panel'
import { StatusBadge } from '@/components/StatusBadge'
import { AbsoluteTime, RelativeTime } from '@/components/Time'
import { hostQuery } from '@/features/host/api'
import { editionName } from '@/features/host/HostOverview'

export function InstanceOverview({ instance }: { instance: Instance }) {
  const host = useQuery(hostQuery(instance.host_id)).data?.host
  const address = host?.facts?.os.hostname ?? instance.host_name
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }} spacing={16} style={{ alignItems: 'start' }}>
      <Panel title="Server">
        <Facts
          rows={[
            { label: 'Version', value: instance.version ? `${editionName(instance.edition)} ${instance.version}`.trim() : '–' },
            { label: 'Role', value: instance.role || '–' },
            { label: 'Port', value: instance.port ? <CopyId value={String(instance.port)} label="Copy the port" /> : '–' },
            { label: 'Size', value: <Bytes value={instance.size_bytes} /> },
            { label: 'Started', value: <RelativeTime at={instance.started_at} /> },
            { label: 'Process', value: instance.pid ? <span className="mono">{instance.pid}</span> : '–' },
            { label: 'Data directory', value: <CopyId value={instance.data_directory} /> },
            Boolean(instance.socket_dir) && { label: 'Socket directory', value: <CopyId value={instance.socket_dir ?? ''} /> },
            Boolean(instance.bin_dir) && { label: 'Programs', value: <CopyId value={instance.bin_dir ?? ''} /> },
            Boolean(instance.os_user) && { label: 'System user', value: <span className="mono">{instance.os_user}</span> },
            Boolean(instance.unit) && { label: 'Service', value: <CopyId value={instance.unit ?? ''} /> },
            Boolean(instance.system_identifier) && { label: 'System identifier', value: <CopyId value={instance.system_identifier ?? ''} /> },
          ]}
        />
      </Panel>
      <div style={{ display: 'grid', gap: 16, minWidth: 0 }}>
        <Panel title="In pgdrover">
          <Facts
            rows={[
              { label: 'Management', value: <StatusBadge plain kind="management" state={instance.management} /> },
              {
                label: 'Host',
                value: (
                  <Link to="/hosts/$id" params={{ id: instance.host_id }}>
                    {instance.host_name}
                  </Link>
                ),
              },
              { label: 'Labels', value: <Labels labels={instance.labels} /> },
              Boolean(instance.dbms_user) && { label: 'DBMS account', value: <span className="mono">{instance.dbms_user}</span> },
              { label: 'Status of', value: <RelativeTime at={instance.status_at} /> },
              { label: 'Known since', value: <AbsoluteTime at={instance.created_at} /> },
              { label: 'Id', value: <CopyId value={instance.id} label="Copy id" /> },
            ]}
          />
        </Panel>
        {instance.port > 0 && instance.management === 'managed' && (
          <Panel title="Connect">
            <CodeBlock label="the psql command" text={`psql "host=${address} port=${instance.port} user=${instance.dbms_user ?? 'postgres'} dbname=${instance.dbms_database ?? 'postgres'}"`} />
          </Panel>
        )}
      </div>
    </SimpleGrid>
  )
}
