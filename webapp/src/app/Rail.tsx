import { ActionIcon } from '@mantine/core'
import { Link, type LinkProps } from '@tanstack/react-router'
import { IconBook2, IconCalendarRepeat, IconDatabase, IconLayoutDashboard, IconListCheck, IconServer2, IconSettings, IconShieldCheck, IconX } from '@tabler/icons-react'
import type { Icon } from '@tabler/icons-react'
import { useCan } from '@/features/access/api'
import { Mark } from './Mark'
import classes from './Rail.module.css'

interface Place {
  label: string
  to: NonNullable<LinkProps['to']>
  icon: Icon
  permission?: string
}

export const places: Place[] = [
  { label: 'Overview', to: '/', icon: IconLayoutDashboard },
  { label: 'Instances', to: '/instances', icon: IconDatabase },
  { label: 'Hosts', to: '/hosts', icon: IconServer2 },
  { label: 'Operations', to: '/operations', icon: IconListCheck },
  { label: 'Schedules', to: '/schedules', icon: IconCalendarRepeat },
  { label: 'Audit', to: '/audit', icon: IconShieldCheck, permission: 'audit.read' },
  { label: 'Settings', to: '/settings', icon: IconSettings },
]

export function Rail({ onClose }: { onClose: () => void }) {
  const can = useCan()
  return (
    <nav className={classes.nav} aria-label="Main">
      <div className={classes.top}>
        <Link to="/" className={classes.brand}>
          <Mark size={26} />
          pgdrover
        </Link>
        <ActionIcon variant="subtle" color="gray" hiddenFrom="sm" onClick={onClose} aria-label="Close the menu">
          <IconX size={18} />
        </ActionIcon>
      </div>
      <ul className={classes.list}>
        {places
          .filter((place) => !place.permission || can(place.permission))
          .map(({ label, to, icon: PlaceIcon }) => (
            <li key={to}>
              <Link to={to} className={classes.link} activeProps={{ 'data-active': true }} activeOptions={{ exact: to === '/', includeSearch: false }}>
                <PlaceIcon size={18} stroke={1.75} aria-hidden />
                {label}
              </Link>
            </li>
          ))}
      </ul>
      <a href="/docs" target="_blank" rel="noreferrer" className={`${classes.link ?? ''} ${classes.docs ?? ''}`}>
        <IconBook2 size={18} stroke={1.75} aria-hidden />
        API reference
      </a>
    </nav>
  )
}
