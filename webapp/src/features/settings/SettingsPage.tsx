import { SegmentedControl, SimpleGrid, Stack, Text, useMantineColorScheme } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { setPreferences, usePreferences } from '@/app/preferences'
import { Facts } from '@/components/Facts'
import { PageHeader } from '@/components/PageHeader'
import { Panel } from '@/components/Panel'
import { useAccount } from '@/features/access/api'
import { overviewQuery } from '@/features/overview/api'

export function SettingsPage() {
  const account = useAccount()
  const overview = useQuery(overviewQuery).data
  return (
    <>
      <PageHeader title="Settings" />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing={16} style={{ alignItems: 'start' }}>
        <Appearance />
        <Stack gap={16}>
          {account && (
            <Panel title="You">
              <Facts
                rows={[
                  { label: 'Login', value: account.login },
                  { label: 'Name', value: account.display_name || '–' },
                  { label: 'Role', value: account.role },
                  {
                    label: 'You may',
                    value: (
                      <Text span size="xs" className="mono">
                        {account.permissions.join(', ')}
                      </Text>
                    ),
                  },
                ]}
              />
            </Panel>
          )}
          <Panel title="This manager">
            <Facts
              rows={[
                { label: 'Version', value: overview?.version ?? '–' },
                { label: 'Address', value: <span className="mono">{window.location.origin}</span> },
                {
                  label: 'API',
                  value: (
                    <a href="/docs" target="_blank" rel="noreferrer">
                      Reference
                    </a>
                  ),
                },
              ]}
            />
          </Panel>
        </Stack>
      </SimpleGrid>
    </>
  )
}

function Appearance() {
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  const { zone, density } = usePreferences()
  return (
    <Panel title="Appearance">
      <Stack gap={16}>
        <Choice
          label="Colours"
          value={colorScheme}
          onChange={(value) => setColorScheme(value as 'light' | 'dark' | 'auto')}
          data={[
            { value: 'auto', label: 'As the system' },
            { value: 'light', label: 'Light' },
            { value: 'dark', label: 'Dark' },
          ]}
        />
        <Choice
          label="Times"
          value={zone}
          onChange={(value) => setPreferences({ zone: value === 'utc' ? 'utc' : 'local' })}
          data={[
            { value: 'local', label: `Here (${Intl.DateTimeFormat().resolvedOptions().timeZone})` },
            { value: 'utc', label: 'UTC' },
          ]}
        />
        <Choice
          label="Lists"
          value={density}
          onChange={(value) => setPreferences({ density: value === 'compact' ? 'compact' : 'comfortable' })}
          data={[
            { value: 'comfortable', label: 'Comfortable' },
            { value: 'compact', label: 'Compact' },
          ]}
        />
        <Text size="xs" c="dimmed">
          Kept in this browser.
        </Text>
      </Stack>
    </Panel>
  )
}

interface ChoiceProps {
  label: string
  value: string
  onChange: (value: string) => void
  data: { value: string; label: string }[]
}

function Choice({ label, value, onChange, data }: ChoiceProps) {
  return (
    <div>
      <Text size="sm" fw={500} mb={4}>
        {label}
      </Text>
      <SegmentedControl aria-label={label} value={value} onChange={onChange} data={data} />
    </div>
  )
}
