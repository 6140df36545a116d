import { Alert, Button, FocusTrap, Group, Loader, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { IconCircleCheck } from '@tabler/icons-react'
import { useState } from 'react'
import { faultsByField } from '@/api/problem'
import type { Enrollment } from '@/api/types'
import { CodeBlock } from '@/components/Code'
import { LabelsInput } from '@/components/Labels'
import { ProblemAlert } from '@/components/ProblemAlert'
import { AbsoluteTime } from '@/components/Time'
import { addHost, hostQuery } from './api'

export function AddHostDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient()
  const [name, setName] = useState('')
  const [labels, setLabels] = useState<Record<string, string>>({})
  const add = useMutation({
    mutationFn: () => addHost({ name: name.trim(), labels }),
    onSuccess: () => client.invalidateQueries({ queryKey: ['hosts'] }),
  })
  const faults = faultsByField(add.error)
  if (add.data) return <EnrollDialog enrollment={add.data} onClose={onClose} />
  return (
    <Modal opened onClose={onClose} title="Add a host">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          add.mutate()
        }}
      >
        <Stack gap={16}>
          {add.isError && <ProblemAlert error={add.error} title="The host was not added" />}
          <TextInput
            label="Name"
            description="How the host is called here, such as its host name"
            placeholder="db-01"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={faults.name}
            required
            withAsterisk={false}
            autoComplete="off"
            data-autofocus
          />
          <LabelsInput value={labels} onChange={setLabels} error={faults.labels} />
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={add.isPending}>
              Add host
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}

// EnrollDialog gives the command for the host and waits with the person until its agent is there.
export function EnrollDialog({ enrollment, onClose }: { enrollment: Enrollment; onClose: () => void }) {
  const navigate = useNavigate()
  const { id, name } = enrollment.host
  // The event stream tells when the agent comes; looking now and then helps where the stream is cut.
  const host = useQuery({ ...hostQuery(id), refetchInterval: 5000 }).data?.host
  const online = host?.state === 'enrolled' && host.online
  return (
    <Modal opened onClose={onClose} title={`Enrol ${name}`} size="lg">
      <FocusTrap.InitialFocus />
      <Stack gap={16}>
        <Text>Run this on the host. It brings the agent here; the agent’s key is made on the host and never leaves it.</Text>
        <CodeBlock label="the command for the host" text={enrollment.install_command} />
        <Text size="sm" c="dimmed">
          The token in it is good once, until <AbsoluteTime at={enrollment.expires_at} />. It is not shown again; a new one can be made on the host’s page.
        </Text>
        <div role="status">
          {online ? (
            <Alert color="green" icon={<IconCircleCheck />} title={`${name} is online`}>
              <Text size="sm" c="var(--mantine-color-text)">
                Agent {host.agent_version} on {host.os_name}. It looks for PostgreSQL on the host now.
              </Text>
            </Alert>
          ) : (
            <Group gap={12}>
              <Loader size={18} />
              <Text size="sm">Waiting for the agent of {name}…</Text>
            </Group>
          )}
        </div>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {online ? 'Close' : 'Close and wait later'}
          </Button>
          <Button
            disabled={!online}
            onClick={() => {
              onClose()
              void navigate({ to: '/hosts/$id', params: { id } })
            }}
          >
            Open the host
          </Button>
        </Group>
      </Stack>
    </Modal>
  )
}
