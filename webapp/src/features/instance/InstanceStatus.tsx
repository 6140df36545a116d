import { Tooltip } from '@mantine/core'
import { IconPlugConnectedX } from '@tabler/icons-react'
import type { Instance } from '@/api/types'
import { StatusBadge } from '@/components/StatusBadge'

// InstanceStatus says the status, and that it is old where the host's agent is away.
export function InstanceStatus({ instance, plain = false }: { instance: Instance; plain?: boolean }) {
  return (
    <span style={{ display: 'inline-flex', alignItems: 'center', gap: 6, verticalAlign: 'middle' }}>
      <StatusBadge kind="instance" state={instance.status} plain={plain} />
      {!instance.host_online && (
        <Tooltip label={`The agent of ${instance.host_name} is offline: this is what it said last.`}>
          <span role="img" aria-label="as last seen, the host is offline" style={{ display: 'inline-flex', color: 'var(--tone-warn)' }}>
            <IconPlugConnectedX size={16} aria-hidden />
          </span>
        </Tooltip>
      )}
    </span>
  )
}
