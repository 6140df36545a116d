import { Button, Text, Title } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { Link } from '@tanstack/react-router'
import { IconCheck } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import type { Overview } from '@/api/types'
import { useCan } from '@/features/access/api'
import { AddHostDialog } from '@/features/host/AddHostDialog'
import classes from './FirstSteps.module.css'

// FirstSteps leads from nothing to a first instance.
export function FirstSteps({ overview }: { overview: Overview }) {
  const can = useCan()
  const [adding, dialog] = useDisclosure(false)
  const hasHost = overview.hosts.online + overview.hosts.offline > 0
  return (
    <section className={classes.steps} aria-labelledby="first-steps">
      <Title order={2} size="h2" id="first-steps">
        Begin here
      </Title>
      <Text c="dimmed" mt={4} maw={640}>
        pgdrover watches and changes PostgreSQL servers through an agent on each host. Every change is an operation you can follow, pause and undo.
      </Text>
      <ol>
        <Item number={1} title="Add a host" done={hasHost}>
          <Text c="dimmed" size="sm">
            You get one command to run on the machine. Its agent connects back to this manager, so no port has to be opened on it.
          </Text>
          {can('host.manage') && (
            <Button mt={12} variant={hasHost ? 'default' : 'filled'} onClick={dialog.open}>
              Add host
            </Button>
          )}
        </Item>
        <Item number={2} title="Create an instance" done={overview.instances.total > 0}>
          <Text c="dimmed" size="sm">
            Choose the host and a version installed there; the plan is shown before anything is done. Servers that run already are discovered, to be adopted.
          </Text>
          {overview.instances.discovered > 0 && (
            <Text size="sm" mt={4}>
              <Link to="/instances" search={{ management: 'discovered' }}>
                {overview.instances.discovered} discovered already
              </Link>
            </Text>
          )}
          {can('instance.create') && (
            <Button mt={12} disabled={!hasHost} variant={hasHost ? 'filled' : 'default'} renderRoot={hasHost ? (props) => <Link {...props} to="/instances/new" /> : undefined}>
              Create instance
            </Button>
          )}
        </Item>
        <Item number={3} title="Follow it" done={overview.operations.succeeded_24h > 0}>
          <Text c="dimmed" size="sm">
            Each step shows its output while it runs. What is going on stays in sight on every page, and Ctrl K finds anything.
          </Text>
        </Item>
      </ol>
      {adding && <AddHostDialog onClose={dialog.close} />}
    </section>
  )
}

function Item({ number, title, done, children }: { number: number; title: string; done: boolean; children: ReactNode }) {
  return (
    <li>
      <span className={classes.number} data-done={done || undefined}>
        {done ? <IconCheck size={16} aria-label="done" /> : number}
      </span>
      <div>
        <Text fw={600}>{title}</Text>
        {children}
      </div>
    </li>
  )
}
