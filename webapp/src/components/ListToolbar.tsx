import { ActionIcon, Button, Checkbox, CloseButton, Group, Menu, Popover, SegmentedControl, Stack, Text, TextInput, Tooltip } from '@mantine/core'
import { useDebouncedCallback } from '@mantine/hooks'
import { IconAdjustmentsHorizontal, IconCheck, IconChevronDown, IconDownload, IconSearch, IconX } from '@tabler/icons-react'
import { useEffect, useRef, useState } from 'react'
import type { List } from '@/api/types'
import { setPreferences, usePreferences } from '@/app/preferences'
import type { ListSearch } from '@/app/search'
import { downloadCsv } from './csv'
import { visibleColumns, type Column } from './DataList'
import classes from './DataList.module.css'
import { reportProblem } from './notify'
import type { ListState } from './useListState'

export interface Filter {
  key: string
  label: string
  // Without options the value is typed.
  options?: { value: string; label: string }[]
  placeholder?: string
  input?: 'datetime-local'
}

interface Props<Row> {
  name: string
  columns: Column<Row>[]
  state: ListState
  filters: Filter[]
  searchLabel?: string | undefined
  fetchPage?: ((search: ListSearch) => Promise<List<Row>>) | undefined
}

export function ListToolbar<Row>({ name, columns, state, filters, searchLabel, fetchPage }: Props<Row>) {
  return (
    <div className={classes.toolbar}>
      <Group gap={8} className={classes.filters}>
        {searchLabel && <SearchBox label={searchLabel} state={state} />}
        {filters.map((filter) =>
          filter.options ? <ChoiceFilter key={filter.key} filter={filter} state={state} /> : <TextFilter key={filter.key} filter={filter} state={state} />,
        )}
      </Group>
      <ViewMenu name={name} columns={columns} state={state} fetchPage={fetchPage} />
    </div>
  )
}

function SearchBox({ label, state }: { label: string; state: ListState }) {
  const wanted = state.search.q ?? ''
  const [text, setText] = useState(wanted)
  const sent = useRef(wanted)
  // The URL may change under the box: the back button, a cleared filter.
  useEffect(() => {
    if (wanted !== sent.current) {
      sent.current = wanted
      setText(wanted)
    }
  }, [wanted])
  const send = useDebouncedCallback((value: string) => {
    sent.current = value
    state.set({ q: value || undefined })
  }, 250)
  const change = (value: string) => {
    setText(value)
    send(value)
  }
  return (
    <TextInput
      aria-label={label}
      placeholder={label}
      value={text}
      onChange={(event) => change(event.currentTarget.value)}
      leftSection={<IconSearch size={16} aria-hidden />}
      rightSection={text ? <CloseButton size="sm" aria-label="Clear search" onClick={() => change('')} /> : null}
      w={{ base: '100%', sm: 260 }}
      size="xs"
      styles={{ input: { fontSize: 13 } }}
    />
  )
}

function ChoiceFilter({ filter, state }: { filter: Filter; state: ListState }) {
  const value = state.search[filter.key]
  const chosen = filter.options?.find((option) => option.value === value)
  return (
    <Menu position="bottom-start">
      <Button.Group>
        <Menu.Target>
          <Button size="xs" variant={value ? 'light' : 'default'} fw={500} rightSection={value ? undefined : <IconChevronDown size={14} aria-hidden />}>
            {value ? `${filter.label}: ${chosen?.label ?? value}` : filter.label}
          </Button>
        </Menu.Target>
        {value && <ClearFilter filter={filter} state={state} />}
      </Button.Group>
      <Menu.Dropdown>
        {filter.options?.map((option) => (
          <Menu.Item
            key={option.value}
            rightSection={option.value === value ? <IconCheck size={14} aria-label="chosen" /> : null}
            onClick={() => state.set({ [filter.key]: option.value })}
          >
            {option.label}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  )
}

function TextFilter({ filter, state }: { filter: Filter; state: ListState }) {
  const value = state.search[filter.key]
  const [opened, setOpened] = useState(false)
  const [text, setText] = useState('')
  return (
    <Popover opened={opened} onChange={setOpened} position="bottom-start" trapFocus returnFocus>
      <Button.Group>
        <Popover.Target>
          <Button
            size="xs"
            fw={500}
            variant={value ? 'light' : 'default'}
            rightSection={value ? undefined : <IconChevronDown size={14} aria-hidden />}
            onClick={() => {
              setText(value ?? '')
              setOpened(!opened)
            }}
          >
            {value ? `${filter.label}: ${value}` : filter.label}
          </Button>
        </Popover.Target>
        {value && <ClearFilter filter={filter} state={state} />}
      </Button.Group>
      <Popover.Dropdown>
        <form
          onSubmit={(event) => {
            event.preventDefault()
            setOpened(false)
            state.set({ [filter.key]: text.trim() || undefined })
          }}
        >
          <Group gap={8} align="end">
            <TextInput size="xs" type={filter.input ?? 'text'} label={filter.label} placeholder={filter.placeholder} value={text} onChange={(event) => setText(event.currentTarget.value)} data-autofocus />
            <Button size="xs" type="submit">
              Apply
            </Button>
          </Group>
        </form>
      </Popover.Dropdown>
    </Popover>
  )
}

function ClearFilter({ filter, state }: { filter: Filter; state: ListState }) {
  return (
    <Button size="xs" variant="light" px={6} aria-label={`Clear filter ${filter.label}`} onClick={() => state.set({ [filter.key]: undefined })}>
      <IconX size={14} aria-hidden />
    </Button>
  )
}

function ViewMenu<Row>({ name, columns, state, fetchPage }: Omit<Props<Row>, 'filters' | 'searchLabel'>) {
  const { density, hiddenColumns } = usePreferences()
  const [busy, setBusy] = useState(false)
  const shown = new Set(visibleColumns(columns, hiddenColumns[name]).map((column) => column.id))
  const optional = columns.filter((column) => column.optional)

  const toggle = (id: string, visible: boolean) => {
    const hidden = optional.map((column) => column.id).filter((other) => (other === id ? !visible : !shown.has(other)))
    setPreferences({ hiddenColumns: { ...hiddenColumns, [name]: hidden } })
  }
  const save = async () => {
    if (!fetchPage) return
    setBusy(true)
    try {
      await downloadCsv(
        name,
        columns.filter((column) => shown.has(column.id)),
        state.search,
        fetchPage,
      )
    } catch (error) {
      reportProblem('The CSV file could not be made', error)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Popover position="bottom-end" trapFocus returnFocus>
      <Popover.Target>
        <Tooltip label="Columns, density, CSV">
          <ActionIcon variant="default" size={30} aria-label="Columns, density, CSV">
            <IconAdjustmentsHorizontal size={16} />
          </ActionIcon>
        </Tooltip>
      </Popover.Target>
      <Popover.Dropdown>
        <Stack gap={8} miw={200}>
          <Text size="xs" fw={600} c="dimmed">
            Density
          </Text>
          <SegmentedControl
            size="xs"
            aria-label="Density"
            value={density}
            onChange={(value) => setPreferences({ density: value === 'compact' ? 'compact' : 'comfortable' })}
            data={[
              { value: 'comfortable', label: 'Comfortable' },
              { value: 'compact', label: 'Compact' },
            ]}
          />
          {optional.length > 0 && (
            <>
              <Text size="xs" fw={600} c="dimmed" mt={4}>
                Columns
              </Text>
              {optional.map((column) => (
                <Checkbox key={column.id} size="xs" label={column.header} checked={shown.has(column.id)} onChange={(event) => toggle(column.id, event.currentTarget.checked)} />
              ))}
            </>
          )}
          {fetchPage && (
            <Button size="xs" variant="default" mt={4} leftSection={<IconDownload size={14} />} loading={busy} onClick={() => void save()}>
              Save as CSV
            </Button>
          )}
        </Stack>
      </Popover.Dropdown>
    </Popover>
  )
}
