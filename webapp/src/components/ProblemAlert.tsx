import { Alert, Anchor, Button, Group, List, Text } from '@mantine/core'
import { IconAlertCircle, IconRefresh } from '@tabler/icons-react'
import { Link } from '@tanstack/react-router'
import { problemOf } from '@/api/problem'

interface Props {
  error: unknown
  // What was tried, e.g. "The hosts could not be read".
  title?: string
  retry?: (() => void) | undefined
}

// ProblemAlert shows the problem's own sentence, its code, and a way to try again.
export function ProblemAlert({ error, title, retry }: Props) {
  const problem = problemOf(error)
  return (
    <Alert color="red" variant="light" icon={<IconAlertCircle />} title={title ?? problem.title} role="alert">
      <Text size="sm" c="var(--mantine-color-text)">
        {problem.message}
      </Text>
      {problem.faults.length > 0 && (
        <List size="sm" mt={4} c="var(--mantine-color-text)">
          {problem.faults.map((fault) => (
            <List.Item key={`${fault.location ?? ''}${fault.message}`}>
              {fault.location ? <span className="mono">{fault.location.replace(/^body\./, '')}</span> : null} {fault.message}
            </List.Item>
          ))}
        </List>
      )}
      {problem.holder && (
        <Text size="sm" mt={4} c="var(--mantine-color-text)" className="prose">
          Held by{' '}
          <Anchor size="sm" renderRoot={(props) => <Link {...props} to="/operations/$id" params={{ id: problem.holder?.operation_id ?? '' }} />}>
            {problem.holder.title}
          </Anchor>{' '}
          of {problem.holder.actor}.
        </Text>
      )}
      <Group mt={8} gap={12}>
        {retry && (
          <Button size="compact-sm" variant="default" leftSection={<IconRefresh size={14} />} onClick={retry}>
            Try again
          </Button>
        )}
        <Text size="xs" c="dimmed" className="mono">
          {problem.code}
        </Text>
      </Group>
    </Alert>
  )
}
