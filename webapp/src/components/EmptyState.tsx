import { Anchor, Stack, Text, Title } from '@mantine/core'
import type { Icon } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import classes from './EmptyState.module.css'

interface Props {
  icon: Icon
  title: string
  children: ReactNode
  action?: ReactNode
  docs?: { href: string; label: string }
  // The page has no other title.
  alone?: boolean
}

// EmptyState teaches: what belongs here and the one button to begin with.
export function EmptyState({ icon: EmptyIcon, title, children, action, docs, alone = false }: Props) {
  return (
    <Stack align="center" gap={8} py={48} px={24} className={classes.empty}>
      <span className={classes.icon}>
        <EmptyIcon size={28} stroke={1.5} aria-hidden />
      </span>
      <Title order={alone ? 1 : 2} size="h3" mt={8}>
        {title}
      </Title>
      <Text c="dimmed" maw={520} ta="center" component="div">
        {children}
      </Text>
      {action ? <div className={classes.action}>{action}</div> : null}
      {docs ? (
        <Anchor href={docs.href} size="sm" target="_blank" rel="noreferrer">
          {docs.label}
        </Anchor>
      ) : null}
    </Stack>
  )
}
