import { Group, Select, Text } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useState, type FocusEvent, type ReactNode } from 'react'
import type { Host, Instance } from '@/api/types'
import { hostQuery, hostsQuery } from '@/features/host/api'
import { instanceQuery, instancesQuery } from '@/features/instance/api'
import { hostState } from '../states'
import { StatusBadge } from '../StatusBadge'

export interface PickerProps {
  id?: string
  label?: ReactNode
  'aria-label'?: string | undefined
  description?: ReactNode
  error?: string | undefined
  required?: boolean
  disabled?: boolean
  value: string
  onChange: (id: string | undefined) => void
  onBlur?: (event: FocusEvent<HTMLElement>) => void
}

// The list is searched on the server: a fleet may have ten thousand of them.
const pageSize = '50'

export function HostPicker({ value, onChange, ...input }: PickerProps) {
  const [text, setText] = useState('')
  const [wanted] = useDebouncedValue(text, 200)
  const chosen = useQuery({ ...hostQuery(value), enabled: value !== '' }).data?.host
  const search = wanted === chosen?.name ? '' : wanted
  const found = useQuery(hostsQuery({ limit: pageSize, sort: 'name', ...(search ? { q: search } : {}) }))
  const hosts = withChosen(found.data?.items ?? [], chosen)
  const byId = new Map(hosts.map((host) => [host.id, host]))
  return (
    <Select
      {...input}
      searchable
      placeholder={found.isPending ? 'Reading the hosts…' : 'Choose a host'}
      nothingFoundMessage="No host matches"
      data={hosts.map((host) => ({ value: host.id, label: host.name, disabled: host.state !== 'enrolled' }))}
      filter={({ options }) => options}
      value={value || null}
      onChange={(id) => onChange(id ?? undefined)}
      searchValue={text}
      onSearchChange={setText}
      renderOption={({ option }) => <HostOption host={byId.get(option.value)} />}
    />
  )
}

function HostOption({ host }: { host: Host | undefined }) {
  if (!host) return null
  return (
    <Group justify="space-between" w="100%" wrap="nowrap">
      <Text size="sm" truncate>
        {host.name}
      </Text>
      <StatusBadge plain kind="host" state={hostState(host)} />
    </Group>
  )
}

export function InstancePicker({ value, onChange, ...input }: PickerProps) {
  const [text, setText] = useState('')
  const [wanted] = useDebouncedValue(text, 200)
  const chosen = useQuery({ ...instanceQuery(value), enabled: value !== '' }).data?.instance
  const search = wanted === chosen?.name ? '' : wanted
  const found = useQuery(instancesQuery({ limit: pageSize, sort: 'name', management: 'managed', ...(search ? { q: search } : {}) }))
  const instances = withChosen(found.data?.items ?? [], chosen)
  const byId = new Map(instances.map((instance) => [instance.id, instance]))
  return (
    <Select
      {...input}
      searchable
      placeholder={found.isPending ? 'Reading the instances…' : 'Choose an instance'}
      nothingFoundMessage="No instance matches"
      data={instances.map((instance) => ({ value: instance.id, label: instance.name }))}
      filter={({ options }) => options}
      value={value || null}
      onChange={(id) => onChange(id ?? undefined)}
      searchValue={text}
      onSearchChange={setText}
      renderOption={({ option }) => <InstanceOption instance={byId.get(option.value)} />}
    />
  )
}

function InstanceOption({ instance }: { instance: Instance | undefined }) {
  if (!instance) return null
  return (
    <Group justify="space-between" w="100%" wrap="nowrap">
      <Text size="sm" truncate>
        {instance.name}{' '}
        <Text span size="xs" c="dimmed">
          {instance.host_name}
        </Text>
      </Text>
      <StatusBadge plain kind="instance" state={instance.status} />
    </Group>
  )
}

function withChosen<T extends { id: string }>(items: T[], chosen: T | undefined): T[] {
  return chosen && !items.some((item) => item.id === chosen.id) ? [chosen, ...items] : items
}
