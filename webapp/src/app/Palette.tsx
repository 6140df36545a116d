import { Kbd, Modal, Text, UnstyledButton } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { Spotlight, spotlight } from '@mantine/spotlight'
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { IconBolt, IconDatabase, IconListCheck, IconSearch, IconServer2 } from '@tabler/icons-react'
import { useState, type ReactNode } from 'react'
import { StatusBadge } from '@/components/StatusBadge'
import { hostState } from '@/components/states'
import { useCan } from '@/features/access/api'
import { hostsQuery } from '@/features/host/api'
import { instancesQuery } from '@/features/instance/api'
import { operationsQuery, operationTypesQuery } from '@/features/operation/api'
import { openOperation } from '@/features/operation/dialog'
import { handMadePages } from '@/features/operation/handmade'
import classes from './Palette.module.css'
import { places } from './Rail'

// A region that scrolls must be reachable by keyboard; the list hands this on to its scroll area, which its types do
// not say.
const focusableList = { viewportProps: { tabIndex: 0 } }

const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent)

export function PaletteButton() {
  return (
    <UnstyledButton className={classes.button} onClick={() => spotlight.open()} aria-label="Search and run (Ctrl K)">
      <IconSearch size={16} aria-hidden />
      <span className={classes.words}>Search or run…</span>
      <Kbd size="xs">{isMac ? '⌘ K' : 'Ctrl K'}</Kbd>
    </UnstyledButton>
  )
}

interface Entry {
  key: string
  label: string
  detail?: ReactNode
  icon: ReactNode
  right?: ReactNode
  run: () => void
}

// Palette finds any object, page and operation from the keyboard.
export function Palette() {
  const [text, setText] = useState('')
  const [opened, setOpened] = useState(false)
  const groups = useEntries(text.trim(), opened)
  return (
    <Spotlight.Root
      query={text}
      onQueryChange={setText}
      shortcut={['mod + K', '/']}
      onSpotlightOpen={() => setOpened(true)}
      onSpotlightClose={() => setOpened(false)}
      maxHeight={420}
      scrollable
      clearQueryOnClose
      radius="lg"
    >
      <Modal.Title className="visually-hidden">Search or run</Modal.Title>
      <Spotlight.Search placeholder="Find an object, a page, an operation…" leftSection={<IconSearch size={18} aria-hidden />} aria-label="Search" />
      <Spotlight.ActionsList {...focusableList}>
        {groups.map((group) =>
          group.entries.length > 0 ? (
            <Spotlight.ActionsGroup key={group.label} label={group.label}>
              {group.entries.map((entry) => (
                <Spotlight.Action key={entry.key} onClick={entry.run} className={classes.entry} tabIndex={0}>
                  {entry.icon}
                  <span className={classes.label}>
                    {entry.label}
                    {entry.detail ? (
                      <Text span size="xs" c="dimmed" ml={8}>
                        {entry.detail}
                      </Text>
                    ) : null}
                  </span>
                  {entry.right}
                </Spotlight.Action>
              ))}
            </Spotlight.ActionsGroup>
          ) : null,
        )}
        {groups.every((group) => group.entries.length === 0) && <Spotlight.Empty>Nothing matches “{text}”</Spotlight.Empty>}
      </Spotlight.ActionsList>
    </Spotlight.Root>
  )
}

function useEntries(text: string, opened: boolean): { label: string; entries: Entry[] }[] {
  const navigate = useNavigate()
  const can = useCan()
  const [wanted] = useDebouncedValue(text, 150)
  const enabled = opened && wanted !== ''
  const search = { q: wanted, limit: '5' }
  const instances = useQuery({ ...instancesQuery(search), enabled }).data
  const hosts = useQuery({ ...hostsQuery(search), enabled }).data
  const operations = useQuery({ ...operationsQuery({ ...search, sort: '-accepted_at' }), enabled }).data
  const types = useQuery({ ...operationTypesQuery, enabled: opened }).data ?? []
  const matches = (label: string) => label.toLowerCase().includes(text.toLowerCase())

  const pages = places
    .filter((place) => (!place.permission || can(place.permission)) && matches(place.label))
    .map(({ label, to, icon: PlaceIcon }) => ({ key: `page ${to}`, label, icon: <PlaceIcon size={18} aria-hidden />, run: () => void navigate({ to }) }))
  const runs = types
      .filter((type) => type.allowed && (matches(type.title) || matches(type.name)))
    .map((type) => ({
      key: `run ${type.name}`,
      label: type.title,
      icon: <IconBolt size={18} aria-hidden />,
      right: <StatusBadge plain kind="risk" state={type.risk} />,
      run: () => {
        const page = handMadePages[type.name]
        if (page) void navigate({ to: page })
        else openOperation({ name: type.name })
      },
    }))
  if (text === '') {
    return [
      { label: 'Go to', entries: pages },
      { label: 'Run', entries: runs },
    ]
  }
  return [
    {
      label: 'Instances',
      entries: (instances?.items ?? []).map((instance) => ({
        key: instance.id,
        label: instance.name || instance.data_directory,
        detail: instance.host_name,
        icon: <IconDatabase size={18} aria-hidden />,
        right: <StatusBadge plain kind="instance" state={instance.status} />,
        run: () => void navigate({ to: '/instances/$id', params: { id: instance.id } }),
      })),
    },
    {
      label: 'Hosts',
      entries: (hosts?.items ?? []).map((host) => ({
        key: host.id,
        label: host.name,
        icon: <IconServer2 size={18} aria-hidden />,
        right: <StatusBadge plain kind="host" state={hostState(host)} />,
        run: () => void navigate({ to: '/hosts/$id', params: { id: host.id } }),
      })),
    },
    { label: 'Run', entries: runs },
    { label: 'Go to', entries: pages },
    {
      label: 'Operations',
      entries: (operations?.items ?? []).map((operation) => ({
        key: operation.id,
        label: operation.title,
        detail: operation.target_name,
        icon: <IconListCheck size={18} aria-hidden />,
        right: <StatusBadge plain kind="operation" state={operation.state} />,
        run: () => void navigate({ to: '/operations/$id', params: { id: operation.id } }),
      })),
    },
  ]
}
