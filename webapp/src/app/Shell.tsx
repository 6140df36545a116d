import { AppShell, Burger, Group } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQueryClient } from '@tanstack/react-query'
import { Outlet, useLocation } from '@tanstack/react-router'
import { IconPlugConnectedX } from '@tabler/icons-react'
import { lazy, Suspense, useEffect, useRef, useState } from 'react'
import { NotificationBell } from '@/features/notification/NotificationBell'
import { useDialogRequest } from '@/features/operation/dialog'
import { RunningCards } from '@/features/operation/RunningCards'
import { RunningMenu } from '@/features/operation/RunningMenu'
import { AccountMenu } from '@/features/access/AccountMenu'
import { listen, useConnection } from './events'
import { Palette, PaletteButton } from './Palette'
import { Rail } from './Rail'
import classes from './Shell.module.css'

const loadDialog = () => import('@/features/operation/OperationDialog').then((module) => ({ default: module.OperationDialog }))
const OperationDialog = lazy(loadDialog)

export function Shell() {
  const client = useQueryClient()
  const connection = useConnection()
  const [railOpened, rail] = useDisclosure(false)
  const path = useLocation({ select: (location) => location.pathname })
  const main = useRef<HTMLElement>(null)
  const lastPath = useRef(path)

  useEffect(() => listen(client), [client])
  // A new page takes the focus, so that a keyboard or a screen reader begins at its top.
  const { close } = rail
  useEffect(() => {
    if (lastPath.current === path) return
    lastPath.current = path
    close()
    main.current?.focus({ preventScroll: true })
  }, [path, close])

  return (
    <AppShell layout="alt" header={{ height: 52 }} navbar={{ width: 216, breakpoint: 'sm', collapsed: { mobile: !railOpened } }} padding={0} transitionDuration={0}>
      <a href="#main" className={classes.skip}>
        To the content
      </a>
      <AppShell.Navbar className={classes.rail} withBorder={false}>
        <Rail onClose={rail.close} />
      </AppShell.Navbar>
      <AppShell.Header className={classes.header} withBorder={false}>
        <Group h="100%" px={{ base: 12, sm: 24 }} justify="space-between" wrap="nowrap">
          <Group gap={12} wrap="nowrap">
            <Burger opened={railOpened} onClick={rail.toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
            <PaletteButton />
          </Group>
          <Group gap={8} wrap="nowrap">
            <RunningMenu />
            <NotificationBell />
            <AccountMenu />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Main className={classes.main} component="main" id="main" ref={main} tabIndex={-1}>
        {connection === 'lost' && (
          <div className={classes.lost} role="status">
            <IconPlugConnectedX size={16} aria-hidden />
            The connection to the manager is lost; what you see may be old. It is tried again by itself.
          </div>
        )}
        <div className={connection === 'lost' ? `${classes.page ?? ''} stale` : classes.page}>
          <Outlet />
        </div>
      </AppShell.Main>
      <RunningCards />
      <Palette />
      <LazyDialog />
    </AppShell>
  )
}

// The dialog's script is not needed for the first page; it is fetched when that has been drawn.
function LazyDialog() {
  useEffect(() => {
    const timer = setTimeout(() => void loadDialog().catch(() => undefined), 2000)
    return () => clearTimeout(timer)
  }, [])
  const wanted = useDialogRequest() !== undefined
  const [used, setUsed] = useState(false)
  if (wanted && !used) setUsed(true)
  if (!used) return null
  return (
    <Suspense fallback={null}>
      <OperationDialog />
    </Suspense>
  )
}
