import { Group, Title } from '@mantine/core'
import { useId, type ReactNode } from 'react'
import classes from './Panel.module.css'

interface Props {
  title?: string
  actions?: ReactNode
  children: ReactNode
  flush?: boolean
}

// Panel is the white card most things lie on.
export function Panel({ title, actions, children, flush = false }: Props) {
  const id = useId()
  return (
    <section className={classes.panel} aria-labelledby={title ? id : undefined}>
      {title ? (
        <Group justify="space-between" className={classes.head} wrap="nowrap">
          <Title order={2} size="h3" id={id}>
            {title}
          </Title>
          {actions}
        </Group>
      ) : null}
      <div className={flush ? undefined : classes.body}>{children}</div>
    </section>
  )
}
