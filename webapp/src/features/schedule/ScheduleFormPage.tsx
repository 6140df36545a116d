import { Button, Group, NumberInput, SegmentedControl, Select, Skeleton, Stack, Switch, Text, TextInput } from '@mantine/core'
import { useDebouncedValue, useDisclosure } from '@mantine/hooks'
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { faultsByField, problemOf } from '@/api/problem'
import type { OperationType, Schedule, ScheduleBody, Times } from '@/api/types'
import { LazyForm } from '@/components/form/LazyForm'
import { cleanSchema, compact, defaultsOf } from '@/components/form/schema'
import { PageHeader } from '@/components/PageHeader'
import { Panel } from '@/components/Panel'
import { ProblemAlert } from '@/components/ProblemAlert'
import { operationTypesQuery } from '@/features/operation/api'
import { createSchedule, previewQuery, replaceSchedule, scheduleQuery } from './api'
import { describeCron } from './describe'
import { NextRuns } from './NextRuns'
import classes from './ScheduleFormPage.module.css'

export function NewSchedulePage() {
  const { operation } = useSearch({ from: '/app/schedules/new' })
  return (
    <>
      <PageHeader title="New schedule" up={{ label: 'Schedules', to: '/schedules' }} />
      <WithTypes>{(types) => <ScheduleForm types={types} {...(operation ? { operation } : {})} save={createSchedule} verb="Create schedule" />}</WithTypes>
    </>
  )
}

export function EditSchedulePage() {
  const { id } = useParams({ from: '/app/schedules/$id/edit' })
  const query = useQuery(scheduleQuery(id))
  const data = query.data
  return (
    <>
      <PageHeader title={data ? `Edit ${data.schedule.name}` : 'Edit schedule'} up={{ label: 'Schedules', to: '/schedules' }} />
      {query.isError && <ProblemAlert error={query.error} title="The schedule could not be read" retry={() => void query.refetch()} />}
      {data && <WithTypes>{(types) => <ScheduleForm types={types} schedule={data.schedule} save={(body) => replaceSchedule(id, data.etag, body)} verb="Save" />}</WithTypes>}
    </>
  )
}

function WithTypes({ children }: { children: (types: OperationType[]) => React.ReactNode }) {
  const types = useQuery(operationTypesQuery)
  if (types.isError) return <ProblemAlert error={types.error} retry={() => void types.refetch()} />
  if (types.isPending) return <Skeleton height={400} />
  return children(types.data)
}

interface FormProps {
  types: OperationType[]
  schedule?: Schedule
  operation?: string
  save: (body: ScheduleBody) => Promise<Schedule>
  verb: string
}

interface Fields {
  name: string
  operation: string
  by: 'cron' | 'interval'
  cron: string
  every: number | string
  unit: string
  zone: string
  jitter: number | string
  overlap: Schedule['overlap']
  catchup: number | string
}

const units: Record<string, number> = { seconds: 1, minutes: 60, hours: 3600, days: 86_400 }

function unitOf(seconds: number): string {
  return Object.keys(units).findLast((unit) => seconds % (units[unit] ?? 1) === 0) ?? 'seconds'
}

function fieldsOf(schedule: Schedule | undefined, operation: string | undefined): Fields {
  const every = schedule?.every_seconds ?? 0
  const unit = every ? unitOf(every) : 'hours'
  return {
    name: schedule?.name ?? '',
    operation: schedule?.operation_name ?? operation ?? '',
    by: every ? 'interval' : 'cron',
    cron: schedule?.cron || '0 3 * * *',
    every: every ? every / (units[unit] ?? 1) : 1,
    unit,
    zone: schedule?.time_zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    jitter: schedule?.jitter_seconds ?? 0,
    overlap: schedule?.overlap ?? 'skip',
    catchup: schedule?.catchup_seconds ?? 600,
  }
}

function timesOf(fields: Fields): Times {
  return fields.by === 'cron' ? { cron: fields.cron.trim(), time_zone: fields.zone } : { every_seconds: Number(fields.every) * (units[fields.unit] ?? 1), time_zone: fields.zone }
}

const formId = 'schedule-input'

function ScheduleForm({ types, schedule, operation, save, verb }: FormProps) {
  const client = useQueryClient()
  const navigate = useNavigate()
  const [fields, setFields] = useState(() => fieldsOf(schedule, operation))
  const [ready, form] = useDisclosure(false)
  const [input, setInput] = useState<Record<string, unknown>>(schedule?.input ?? {})
  const type = types.find((each) => each.name === fields.operation)
  const set = (patch: Partial<Fields>) => setFields((before) => ({ ...before, ...patch }))
  const mutation = useMutation({
    mutationFn: () =>
      save({
        ...timesOf(fields),
        ...(schedule?.start_at ? { start_at: schedule.start_at } : {}),
        ...(schedule?.end_at ? { end_at: schedule.end_at } : {}),
        name: fields.name.trim(),
        operation_name: fields.operation,
        input: compact(input),
        jitter_seconds: Number(fields.jitter),
        overlap: fields.overlap,
        catchup_seconds: Number(fields.catchup),
      }),
    onSuccess: (saved) => {
      void client.invalidateQueries({ queryKey: ['schedules'] })
      void client.invalidateQueries({ queryKey: ['schedule', saved.id] })
      void navigate({ to: '/schedules/$id', params: { id: saved.id } })
    },
  })
  const faults = faultsByField(mutation.error)
  const inputFaults = Object.fromEntries(Object.entries(faults).flatMap(([key, value]) => (key.startsWith('input.') ? [[key.slice(6), value]] : [])))
  const questions = type ? Object.keys(cleanSchema(type.input_schema).properties ?? {}).length : 0
  const submit = () => mutation.mutate()

  return (
    <div className={classes.columns}>
      <Stack gap={16}>
        <Panel title="What">
          <Stack gap={16}>
            <TextInput label="Name" required withAsterisk={false} value={fields.name} onChange={(event) => set({ name: event.currentTarget.value })} error={faults.name} placeholder="nightly-vacuum" />
            <Select
              label="Operation"
              description={type?.doc}
              placeholder="Choose what to run"
              searchable
              data={types.filter((each) => each.schedulable && each.allowed).map((each) => ({ value: each.name, label: each.title }))}
              value={fields.operation || null}
              error={faults.operation_name}
              onChange={(name) => {
                const next = types.find((each) => each.name === name)
                set({ operation: name ?? '' })
                setInput(next ? defaultsOf(next.input_schema) : {})
              }}
            />
            {type && questions > 0 && <LazyForm key={type.name} id={formId} schema={type.input_schema} value={input} onChange={setInput} onSubmit={submit} faults={inputFaults} onReady={form.open} />}
          </Stack>
        </Panel>
        <TimesPanel fields={fields} set={set} faults={faults} />
      </Stack>
      <div className={classes.aside}>
        <Stack gap={16}>
          <Panel title="Next runs">
            <Preview times={timesOf(fields)} />
          </Panel>
          {mutation.isError && <ProblemAlert error={mutation.error} title="The schedule was not saved" />}
          {type && questions > 0 ? (
            <Button type="submit" form={formId} loading={mutation.isPending} disabled={!ready || fields.name.trim() === ''}>
              {verb}
            </Button>
          ) : (
            <Button onClick={submit} loading={mutation.isPending} disabled={!type || fields.name.trim() === ''}>
              {verb}
            </Button>
          )}
        </Stack>
      </div>
    </div>
  )
}

function zones(): string[] {
  const known = (Intl as { supportedValuesOf?: (key: 'timeZone') => string[] }).supportedValuesOf?.('timeZone') ?? []
  return known.includes('UTC') ? known : ['UTC', ...known]
}

interface TimesProps {
  fields: Fields
  set: (patch: Partial<Fields>) => void
  faults: Record<string, string>
}

function TimesPanel({ fields, set, faults }: TimesProps) {
  const [more, setMore] = useState(false)
  return (
    <Panel title="When">
      <Stack gap={16}>
        <div>
          <SegmentedControl
            aria-label="Kind of times"
            value={fields.by}
            onChange={(by) => set({ by: by === 'interval' ? 'interval' : 'cron' })}
            data={[
              { value: 'cron', label: 'At set times' },
              { value: 'interval', label: 'Every so often' },
            ]}
          />
        </div>
        {fields.by === 'cron' ? (
          <Group gap={12} align="flex-start" grow>
            <TextInput
              label="Cron rule"
              description="minute, hour, day, month, weekday"
              value={fields.cron}
              onChange={(event) => set({ cron: event.currentTarget.value })}
              error={faults.cron}
              spellCheck={false}
              styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
            />
            <Select label="Time zone" description="of the clock on the wall" searchable data={zones()} value={fields.zone} onChange={(zone) => set({ zone: zone ?? 'UTC' })} error={faults.time_zone} />
          </Group>
        ) : (
          <Group gap={12} align="flex-end">
            <NumberInput label="Every" min={1} w={120} value={fields.every} onChange={(every) => set({ every })} error={faults.every_seconds} />
            <Select aria-label="Unit" w={140} data={Object.keys(units)} value={fields.unit} onChange={(unit) => set({ unit: unit ?? 'hours' })} />
          </Group>
        )}
        {fields.by === 'cron' && describeCron(fields.cron) ? (
          <Text size="sm" c="dimmed">
            That is {describeCron(fields.cron)}.
          </Text>
        ) : null}
        <Switch label="More: overlap, missed runs, spread" checked={more} onChange={(event) => setMore(event.currentTarget.checked)} />
        {more && (
          <>
            <Select
              label="When the run before has not ended"
              data={[
                { value: 'skip', label: 'Leave the new one out' },
                { value: 'queue', label: 'Let the new one wait' },
                { value: 'allow', label: 'Begin all the same' },
              ]}
              value={fields.overlap}
              onChange={(overlap) => set({ overlap: (overlap ?? 'skip') })}
            />
            <Group gap={12} grow align="flex-start">
              <NumberInput label="Make up missed runs, seconds" description="Older ones are left out" min={10} value={fields.catchup} onChange={(catchup) => set({ catchup })} error={faults.catchup_seconds} />
              <NumberInput label="Spread the start, seconds" description="So that many do not begin at once" min={0} value={fields.jitter} onChange={(jitter) => set({ jitter })} error={faults.jitter_seconds} />
            </Group>
          </>
        )}
      </Stack>
    </Panel>
  )
}

function Preview({ times }: { times: Times }) {
  const [wanted] = useDebouncedValue(times, 300)
  const key = JSON.stringify(wanted)
  const preview = useQuery({ ...previewQuery(JSON.parse(key) as Times), placeholderData: keepPreviousData })
  if (preview.isError) {
    return (
      <Text size="sm" c="var(--mantine-color-error)">
        {problemOf(preview.error).message}
      </Text>
    )
  }
  if (!preview.data) return <Skeleton height={160} />
  return <NextRuns times={preview.data} zone={times.time_zone} />
}
