import { Progress, SimpleGrid, Stack, Text } from '@mantine/core'
import { IconServer2 } from '@tabler/icons-react'
import type { Binaries, Disk, Facts as HostFacts, Host } from '@/api/types'
import { Bytes } from '@/components/Bytes'
import { CopyId } from '@/components/CopyId'
import { EmptyState } from '@/components/EmptyState'
import { Facts } from '@/components/Facts'
import { formatBytes } from '@/components/format'
import { Labels } from '@/components/Labels'
import { Panel } from '@/components/Panel'
import { PlainTable } from '@/components/PlainTable'
import { AbsoluteTime, RelativeTime } from '@/components/Time'

const editions: Record<string, string> = { postgresql: 'PostgreSQL', 'pgpro-standard': 'Postgres Pro Standard', 'pgpro-enterprise': 'Postgres Pro Enterprise' }

export function editionName(edition: string | undefined): string {
  return edition ? (editions[edition] ?? edition) : ''
}

export function HostOverview({ host }: { host: Host }) {
  const { facts } = host
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }} spacing={16} style={{ alignItems: 'start' }}>
      {facts ? (
        <Stack gap={16}>
          <Panel title="Load">
            <Load facts={facts} />
          </Panel>
          <Panel title="File systems" flush>
            <Disks disks={facts.disks} />
          </Panel>
          <Panel title="Installed servers" flush>
            <Servers binaries={facts.binaries} />
          </Panel>
        </Stack>
      ) : (
        <Panel>
          <EmptyState icon={IconServer2} title="Nothing known yet">
            {host.state === 'invited' ? 'The agent has not come yet. Make a new token if the first one has expired.' : 'The agent tells about its host in a moment.'}
          </EmptyState>
        </Panel>
      )}
      <Panel title="About">
        <Facts
          rows={[
            { label: 'Labels', value: <Labels labels={host.labels} /> },
            facts && { label: 'Host name', value: <CopyId value={facts.os.hostname} /> },
            facts && { label: 'System', value: `${facts.os.name} ${facts.os.version}` },
            facts && { label: 'Kernel', value: `${facts.os.kernel} (${facts.os.architecture})` },
            facts && { label: 'Booted', value: <RelativeTime at={facts.os.booted_at} /> },
            facts && { label: 'Processors', value: `${facts.cpu.cores} × ${facts.cpu.model}` },
            facts && { label: 'Agent', value: `${facts.agent.version}${facts.agent.systemd ? ', with systemd' : ', without systemd'}` },
            facts && { label: 'Data root', value: <CopyId value={facts.agent.data_root} /> },
            facts && { label: 'User of instances', value: <span className="mono">{facts.agent.instance_os_user}</span> },
            facts && facts.agent.dropped_reports > 0 && { label: 'Dropped reports', value: `${facts.agent.dropped_reports}, while the manager was away` },
            Boolean(host.certificate_expires_at) && {
              label: 'Certificate',
              value: (
                <>
                  good until <AbsoluteTime at={host.certificate_expires_at} />; renewed by itself
                </>
              ),
            },
            { label: 'Facts of', value: <RelativeTime at={host.facts_at} never="never" /> },
            { label: 'Added', value: <AbsoluteTime at={host.created_at} /> },
            { label: 'Id', value: <CopyId value={host.id} label="Copy id" /> },
          ]}
        />
      </Panel>
    </SimpleGrid>
  )
}

function Gauge({ label, used, text }: { label: string; used: number; text: string }) {
  const percent = Math.max(0, Math.min(100, used))
  return (
    <div>
      <Text size="sm" mb={4} style={{ display: 'flex', justifyContent: 'space-between' }} component="div">
        <span>{label}</span>
        <Text span size="sm" c="dimmed" className="num">
          {text}
        </Text>
      </Text>
      <Progress value={percent} color={percent >= 90 ? 'red' : percent >= 75 ? 'amber' : 'drover'} aria-label={`${label}: ${text}`} />
    </div>
  )
}

function Load({ facts }: { facts: HostFacts }) {
  const { cpu, memory } = facts
  const used = memory.total - memory.available
  return (
    <Stack gap={12}>
      <Gauge label="Processors" used={cpu.used_percent} text={`${cpu.used_percent.toFixed(0)} % of ${cpu.cores}, load ${cpu.load1.toFixed(2)}`} />
      <Gauge label="Memory" used={memory.total > 0 ? (used / memory.total) * 100 : 0} text={`${formatBytes(used)} of ${formatBytes(memory.total)}`} />
      {memory.swap_total > 0 && <Gauge label="Swap" used={(memory.swap_used / memory.swap_total) * 100} text={`${formatBytes(memory.swap_used)} of ${formatBytes(memory.swap_total)}`} />}
    </Stack>
  )
}

function Disks({ disks }: { disks: Disk[] }) {
  return (
    <PlainTable
      label="File systems"
      head={['Mount', 'Used', 'Free', 'Type']}
      rows={disks.map((disk) => ({
        key: disk.mount,
        cells: [
          <span key="mount" className="mono" title={disk.device}>
            {disk.mount}
          </span>,
          <DiskUse key="use" disk={disk} />,
          <Bytes key="free" value={disk.free} />,
          disk.type,
        ],
      }))}
    />
  )
}

function DiskUse({ disk }: { disk: Disk }) {
  const percent = disk.total > 0 ? ((disk.total - disk.free) / disk.total) * 100 : 0
  return (
    <span style={{ display: 'flex', alignItems: 'center', gap: 8 }}>
      <Progress w={80} size="sm" value={percent} color={percent >= 90 ? 'red' : percent >= 75 ? 'amber' : 'drover'} aria-label={`${disk.mount} is used to ${percent.toFixed(0)} %`} />
      <span className="num">
        {percent.toFixed(0)} % of {formatBytes(disk.total)}
      </span>
    </span>
  )
}

function Servers({ binaries }: { binaries: Binaries[] }) {
  if (binaries.length === 0) {
    return (
      <Text c="dimmed" size="sm" p={16}>
        No PostgreSQL server is installed on this host. Install a package, such as postgresql-17; the agent finds it within a minute.
      </Text>
    )
  }
  return (
    <PlainTable
      label="Installed servers"
      head={['Version', 'Edition', 'From', 'Programs']}
      rows={binaries.map((each) => ({
        key: each.dir,
        cells: [<b key="version">{each.version}</b>, editionName(each.edition), each.source, <CopyId key="dir" value={each.dir} />],
      }))}
    />
  )
}
