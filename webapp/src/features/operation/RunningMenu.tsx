import { Anchor, Button, Popover, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { IconActivity } from '@tabler/icons-react'
import { useState } from 'react'
import { StatusBadge } from '@/components/StatusBadge'
import { Duration } from '@/components/Time'
import { operationsQuery } from './api'
import classes from './RunningMenu.module.css'

// RunningMenu says on every page how much is going on, whoever asked for it.
export function RunningMenu() {
  const [opened, setOpened] = useState(false)
  const { data } = useQuery(operationsQuery({ open: 'true', dry_run: 'false', limit: '10', sort: '-accepted_at' }))
  const total = data?.total ?? 0
  if (total === 0) return null
  return (
    <Popover opened={opened} onChange={setOpened} width={360} position="bottom-end" trapFocus returnFocus>
      <Popover.Target>
        <Button variant="light" size="xs" radius="xl" leftSection={<IconActivity size={16} />} onClick={() => setOpened(!opened)}>
          {total} running
        </Button>
      </Popover.Target>
      <Popover.Dropdown p={0}>
        <Stack gap={0}>
          {data?.items.map((op) => (
            <Link key={op.id} to="/operations/$id" params={{ id: op.id }} className={classes.entry} onClick={() => setOpened(false)}>
              <span className={classes.title}>
                {op.title}
                <Text span size="xs" c="dimmed" ml={6}>
                  {op.target_name}
                </Text>
              </span>
              <span className={classes.state}>
                <StatusBadge plain kind="operation" state={op.state} />
                <Duration from={op.started_at ?? op.accepted_at} />
              </span>
            </Link>
          ))}
          <Anchor size="sm" ta="center" p={10} renderRoot={(props) => <Link {...props} to="/operations" search={{ open: 'true' }} onClick={() => setOpened(false)} />}>
            All open operations
          </Anchor>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  )
}
