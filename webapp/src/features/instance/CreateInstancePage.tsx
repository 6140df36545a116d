import { Button, Group, Select, Skeleton, Stack, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import type { RegistryWidgetsType, WidgetProps } from '@rjsf/utils'
import { IconListCheck } from '@tabler/icons-react'
import { useEffect, useRef } from 'react'
import type { Facts, OperationType } from '@/api/types'
import { LazyForm } from '@/components/form/LazyForm'
import { defaultsOf } from '@/components/form/schema'
import { common, contextOf, textOf } from '@/components/form/widgets'
import { PageHeader } from '@/components/PageHeader'
import { Panel } from '@/components/Panel'
import { ProblemAlert } from '@/components/ProblemAlert'
import { hostQuery } from '@/features/host/api'
import { editionName } from '@/features/host/HostOverview'
import { operationTypesQuery } from '@/features/operation/api'
import { CopyRequest } from '@/features/operation/CopyRequest'
import { PlanPreview, PlanSkeleton } from '@/features/operation/PlanPreview'
import { useOperationRun, type OperationRun } from '@/features/operation/useOperationRun'
import { instancesQuery } from './api'
import classes from './CreateInstancePage.module.css'
import { freePort, proposedDirectory, versionsOf } from './propose'

export function CreateInstancePage() {
  const types = useQuery(operationTypesQuery)
  const type = types.data?.find((each) => each.name === 'instance-create')
  return (
    <>
      <PageHeader title="Create instance" up={{ label: 'Instances', to: '/instances' }} lead={type?.doc} />
      {types.isError && <ProblemAlert error={types.error} retry={() => void types.refetch()} />}
      {types.isPending && <Skeleton height={400} />}
      {type && <CreateForm type={type} />}
      {types.isSuccess && !type && <Text>This manager has no operation that creates instances.</Text>}
    </>
  )
}

const formId = 'create'

// The edition goes with the version: both name installed programs.
const ui = {
  host_id: { 'ui:widget': 'host' },
  version: { 'ui:widget': VersionWidget as RegistryWidgetsType[string] },
  edition: { 'ui:widget': 'hidden' },
}

function CreateForm({ type }: { type: OperationType }) {
  const navigate = useNavigate()
  const search = useSearch({ from: '/app/instances/new' })
  const run = useOperationRun(type, { ...defaultsOf(type.input_schema), ...(search.host_id ? { host_id: search.host_id } : {}) }, (operation) => {
    void navigate({ to: '/operations/$id', params: { id: operation.id } })
  })
  const [ready, form] = useDisclosure(false)
  const hostId = textOf(run.value.host_id)
  const facts = useQuery({ ...hostQuery(hostId), enabled: hostId !== '' }).data?.host.facts
  useProposals(run, hostId, facts)

  return (
    <div className={classes.columns}>
      <Panel>
        <LazyForm id={formId} schema={type.input_schema} ui={ui} value={run.value} onChange={run.change} onSubmit={() => run.check.mutate()} faults={run.faults} extra={{ facts }} onReady={form.open} />
      </Panel>
      <div className={classes.aside}>
        <Stack gap={16}>
          <Panel title="What will happen">
            <PlanArea run={run} />
          </Panel>
          {run.error && <ProblemAlert error={run.error} title={run.send.isError ? 'The operation was not accepted' : 'The dry run was refused'} />}
          {run.plan && type.undo ? (
            <Text size="xs" c="dimmed">
              If it fails: {type.undo}
            </Text>
          ) : null}
          <Actions type={type} run={run} ready={ready} />
        </Stack>
      </div>
    </div>
  )
}

function PlanArea({ run }: { run: OperationRun }) {
  if (run.check.isPending) return <PlanSkeleton />
  if (run.plan) return <PlanPreview operation={run.plan} />
  return (
    <Group gap={12} wrap="nowrap" align="flex-start">
      <IconListCheck size={20} aria-hidden style={{ flex: 'none' }} color="var(--mantine-color-dimmed)" />
      <Text size="sm" c="dimmed">
        Fill in the form and review the plan: the host is looked at, nothing is changed, and the steps are listed here.
      </Text>
    </Group>
  )
}

function Actions({ type, run, ready }: { type: OperationType; run: OperationRun; ready: boolean }) {
  const send = (queue: boolean) => run.send.mutate({ queue })
  return (
    <Stack gap={8}>
      {(!run.plan || run.plan.failure) && (
        <Button type="submit" form={formId} loading={run.check.isPending} disabled={!ready}>
          {run.plan ? 'Review again' : 'Review the plan'}
        </Button>
      )}
      {run.plan && (
        // What the dry run found may be over in a moment; who knows better may go on.
        <Button loading={run.send.isPending} variant={run.plan.failure ? 'default' : 'filled'} onClick={() => send(run.holder !== undefined)}>
          {run.holder ? 'Create after that one' : run.plan.failure ? 'Create all the same' : 'Create instance'}
        </Button>
      )}
      <Group justify="center">
        <CopyRequest type={type} input={run.input} />
      </Group>
    </Stack>
  )
}

// useProposals fills in what follows from the host and the name, and leaves alone what a person typed.
function useProposals(run: OperationRun, hostId: string, facts: Facts | undefined): void {
  const instances = useQuery({ ...instancesQuery({ host_id: hostId, limit: '500' }), enabled: hostId !== '' }).data
  const proposed = useRef<Record<string, unknown>>({ port: 5432 })
  const { value, change } = run
  useEffect(() => {
    const ours = (field: string) => value[field] === undefined || value[field] === '' || value[field] === proposed.current[field]
    const wanted: Record<string, unknown> = {}
    const directory = proposedDirectory(facts?.agent.data_root, textOf(value.name))
    if (ours('data_directory')) wanted.data_directory = directory || undefined
    if (instances && ours('port')) wanted.port = freePort(instances.items)
    const newest = versionsOf(facts)[0]
    if (newest && ours('version')) {
      wanted.version = newest.version
      wanted.edition = newest.edition
    }
    if (Object.keys(wanted).every((field) => wanted[field] === value[field])) return
    proposed.current = { ...proposed.current, ...wanted }
    change({ ...value, ...wanted })
  }, [value, change, facts, instances])
}

// VersionWidget offers the versions installed on the chosen host.
function VersionWidget(props: WidgetProps) {
  const context = contextOf(props)
  const versions = versionsOf(context.extra.facts as Facts | undefined)
  const edition = textOf(context.value.edition)
  const shared = common(props)
  const keyOf = (version: string, of: string) => `${version} ${of}`
  const hostChosen = textOf(context.value.host_id) !== ''
  return (
    <Select
      {...shared}
      description="What is installed on the host"
      placeholder={hostChosen ? 'No server is installed on this host' : 'Choose a host first'}
      disabled={shared.disabled || versions.length === 0}
      data={versions.map((each) => ({ value: keyOf(each.version, each.edition), label: `${editionName(each.edition)} ${each.version} (${each.label})` }))}
      value={textOf(props.value) ? keyOf(textOf(props.value), edition) : null}
      onChange={(key) => {
        const choice = versions.find((each) => keyOf(each.version, each.edition) === key)
        if (choice) context.set({ version: choice.version, edition: choice.edition })
      }}
    />
  )
}
