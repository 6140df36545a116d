import { Anchor, Group, Text, Title } from '@mantine/core'
import { IconChevronLeft } from '@tabler/icons-react'
import { Link, type LinkProps } from '@tanstack/react-router'
import { useEffect, type ReactNode } from 'react'
import classes from './PageHeader.module.css'

export interface Fact {
  label: string
  value: ReactNode
}

interface Props {
  title: string
  status?: ReactNode
  facts?: Fact[]
  actions?: ReactNode
  // The list this object is in.
  up?: { label: string; to: LinkProps['to'] }
  lead?: ReactNode
}

export function PageHeader({ title, status, facts, actions, up, lead }: Props) {
  useTitle(title)
  return (
    <header className={classes.header}>
      {up && (
        <Anchor size="sm" className={classes.up} renderRoot={(props) => <Link {...props} to={up.to} />}>
          <IconChevronLeft size={14} aria-hidden />
          {up.label}
        </Anchor>
      )}
      <div className={classes.row}>
        <Group gap={12} className={classes.title}>
          <Title order={1}>{title}</Title>
          {status}
        </Group>
        {actions ? <Group gap={8}>{actions}</Group> : null}
      </div>
      {lead ? (
        <Text c="dimmed" component="div" mt={4} className="prose">
          {lead}
        </Text>
      ) : null}
      {facts && facts.length > 0 && (
        <dl className={classes.facts}>
          {facts.map((fact) => (
            <div key={fact.label}>
              <dt>{fact.label}</dt>
              <dd>{fact.value}</dd>
            </div>
          ))}
        </dl>
      )}
    </header>
  )
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · pgdrover` : 'pgdrover'
  }, [title])
}
