import { Button, Popover, Stack, Tabs, Text } from '@mantine/core'
import { IconTerminal2 } from '@tabler/icons-react'
import type { OperationType } from '@/api/types'
import { CodeBlock } from '@/components/Code'
import { secretFields } from '@/components/form/schema'
import { asCli, asCurl } from './request'

// CopyRequest shows the request a form makes, for a terminal.
export function CopyRequest({ type, input }: { type: OperationType; input: Record<string, unknown> }) {
  const hasSecret = [...secretFields(type.input_schema)].some((name) => input[name] !== undefined)
  return (
    <Popover position="top-start" width={520} trapFocus returnFocus>
      <Popover.Target>
        <Button variant="subtle" color="gray" leftSection={<IconTerminal2 size={16} />}>
          As a command
        </Button>
      </Popover.Target>
      <Popover.Dropdown>
        <Tabs defaultValue="cli">
          <Tabs.List mb={12}>
            <Tabs.Tab value="cli">Command line</Tabs.Tab>
            <Tabs.Tab value="curl">curl</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="cli">
            <CodeBlock label="the command" text={asCli(type, input)} />
          </Tabs.Panel>
          <Tabs.Panel value="curl">
            <CodeBlock label="the curl command" text={asCurl(type, input, window.location.origin)} />
          </Tabs.Panel>
        </Tabs>
        {hasSecret && (
          <Stack mt={8}>
            <Text size="xs" c="dimmed">
              Secrets are left out; put your own in their place.
            </Text>
          </Stack>
        )}
      </Popover.Dropdown>
    </Popover>
  )
}
