import { ActionIcon, Button, Group, Indicator, Popover, ScrollArea, Skeleton, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { IconAlertOctagon, IconAlertTriangle, IconBell, IconCircleCheck, IconInfoCircle } from '@tabler/icons-react'
import { useState } from 'react'
import type { Notification } from '@/api/types'
import { reportProblem } from '@/components/notify'
import { ProblemAlert } from '@/components/ProblemAlert'
import { RelativeTime } from '@/components/Time'
import { markRead, notificationsQuery } from './api'
import classes from './NotificationBell.module.css'

const icons = { info: IconInfoCircle, success: IconCircleCheck, warning: IconAlertTriangle, error: IconAlertOctagon }
const tones = { info: '--tone-busy', success: '--tone-ok', warning: '--tone-warn', error: '--tone-bad' }

export function NotificationBell() {
  const [opened, setOpened] = useState(false)
  const client = useQueryClient()
  const latest = useQuery(notificationsQuery)
  const unread = latest.data?.unread ?? 0
  const read = useMutation({
    mutationFn: markRead,
    onSuccess: () => client.invalidateQueries({ queryKey: ['notifications'] }),
    onError: (error) => reportProblem('The notifications could not be marked', error),
  })
  const open = (notification: Notification) => {
    setOpened(false)
    if (!notification.read_at) read.mutate({ ids: [notification.id] })
  }
  return (
    <Popover opened={opened} onChange={setOpened} width={380} position="bottom-end" trapFocus returnFocus>
      <Indicator label={unread > 99 ? '99+' : unread} size={16} disabled={unread === 0} color="red" offset={5}>
        <Popover.Target>
          <ActionIcon variant="subtle" color="gray" size={34} aria-label={unread > 0 ? `Notifications, ${unread} unread` : 'Notifications'} onClick={() => setOpened(!opened)}>
            <IconBell size={20} />
          </ActionIcon>
        </Popover.Target>
      </Indicator>
      <Popover.Dropdown p={0} aria-label="Notifications">
        <Group justify="space-between" px={16} py={8} className={classes.head}>
          <Text fw={600}>Notifications</Text>
          {unread > 0 && (
            <Button size="compact-xs" variant="subtle" loading={read.isPending} onClick={() => read.mutate({ all: true })}>
              Mark all as read
            </Button>
          )}
        </Group>
        <ScrollArea.Autosize mah={420}>
          {latest.isPending && (
            <Stack p={16}>
              <Skeleton height={14} />
              <Skeleton height={14} />
            </Stack>
          )}
          {latest.isError && <ProblemAlert error={latest.error} retry={() => void latest.refetch()} />}
          {latest.data?.items.length === 0 && (
            <Text c="dimmed" ta="center" p={32} size="sm">
              You are told here when an operation of yours ends.
            </Text>
          )}
          {latest.data?.items.map((notification) => (
            <Entry key={notification.id} notification={notification} onOpen={() => open(notification)} />
          ))}
        </ScrollArea.Autosize>
      </Popover.Dropdown>
    </Popover>
  )
}

function Entry({ notification, onOpen }: { notification: Notification; onOpen: () => void }) {
  const EntryIcon = icons[notification.severity]
  const body = (
    <>
      <EntryIcon size={18} aria-hidden color={`var(${tones[notification.severity]})`} className={classes.icon} />
      <span className={classes.text}>
        <span className={classes.title}>
          {notification.title}
          {!notification.read_at && <span className={classes.unread} role="img" aria-label="unread" />}
        </span>
        {notification.body ? <span className={classes.body}>{notification.body}</span> : null}
        <Text span size="xs" c="dimmed">
          <RelativeTime at={notification.at} />
        </Text>
      </span>
    </>
  )
  if (!notification.operation_id) {
    return (
      <button type="button" className={classes.entry} onClick={onOpen}>
        {body}
      </button>
    )
  }
  return (
    <Link className={classes.entry} to="/operations/$id" params={{ id: notification.operation_id }} onClick={onOpen}>
      {body}
    </Link>
  )
}
