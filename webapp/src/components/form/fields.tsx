import { ActionIcon, Button, Group, Input, Stack, TextInput } from '@mantine/core'
import type { RegistryFieldsType } from '@rjsf/utils'
import { IconPlus, IconX } from '@tabler/icons-react'
import { useState } from 'react'
import type { FieldProps } from './rjsf'
import { fieldTitle } from './schema'
import { contextOf, errorOf } from './widgets'

function titleOf(props: FieldProps): string {
  const wanted: unknown = props.uiSchema?.['ui:title']
  return typeof wanted === 'string' ? wanted : (props.schema.title ?? fieldTitle(props.name))
}

const mono = { input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } }

interface Pair {
  key: string
  value: string
}

// MapField edits names and values, such as settings of a server.
function MapField(props: FieldProps) {
  const { fieldPathId, onChange, required } = props
  const [pairs, setPairs] = useState<Pair[]>(() =>
    Object.entries((props.formData ?? {}) as Record<string, unknown>).map(([key, value]) => ({ key, value: String(value) })),
  )
  const title = titleOf(props)
  const error = errorOf(contextOf(props), fieldPathId.$id)
  const change = (next: Pair[]) => {
    setPairs(next)
    const map: Record<string, string> = {}
    for (const { key, value } of next) if (key.trim() !== '') map[key.trim()] = value
    onChange(Object.keys(map).length > 0 ? map : undefined, fieldPathId.path)
  }
  const edit = (index: number, patch: Partial<Pair>) => change(pairs.map((pair, at) => (at === index ? { ...pair, ...patch } : pair)))
  return (
    <Input.Wrapper label={title} description={props.schema.description} error={error} required={required ?? false} labelElement="div">
      <Stack gap={8} mt={4} role="group" aria-label={title}>
        {pairs.map((pair, index) => (
          // The place in the list is the only identity a pair has while its name is typed.
          <Group key={index} gap={8} wrap="nowrap">
            <TextInput flex={1} aria-label={`Name ${index + 1}`} placeholder="name" value={pair.key} styles={mono} spellCheck={false} onChange={(event) => edit(index, { key: event.currentTarget.value })} />
            <TextInput flex={1} aria-label={`Value of ${pair.key || `name ${index + 1}`}`} placeholder="value" value={pair.value} styles={mono} spellCheck={false} onChange={(event) => edit(index, { value: event.currentTarget.value })} />
            <ActionIcon variant="subtle" color="gray" size={36} aria-label={`Remove ${pair.key || `entry ${index + 1}`}`} onClick={() => change(pairs.filter((_, at) => at !== index))}>
              <IconX size={16} />
            </ActionIcon>
          </Group>
        ))}
        <div>
          <Button size="compact-sm" variant="default" leftSection={<IconPlus size={14} />} onClick={() => setPairs([...pairs, { key: '', value: '' }])}>
            Add
          </Button>
        </div>
      </Stack>
    </Input.Wrapper>
  )
}

// TextsField edits a list of texts, such as the arguments of a command.
function TextsField(props: FieldProps) {
  const { fieldPathId, onChange, required } = props
  const [texts, setTexts] = useState<string[]>(() => ((props.formData ?? []) as unknown[]).map(String))
  const title = titleOf(props)
  const error = errorOf(contextOf(props), fieldPathId.$id)
  const change = (next: string[]) => {
    setTexts(next)
    onChange(next.length > 0 ? next : undefined, fieldPathId.path)
  }
  return (
    <Input.Wrapper label={title} description={props.schema.description} error={error} required={required ?? false} labelElement="div">
      <Stack gap={8} mt={4} role="group" aria-label={title}>
        {texts.map((text, index) => (
          <Group key={index} gap={8} wrap="nowrap">
            <TextInput flex={1} aria-label={`${title} ${index + 1}`} value={text} styles={mono} spellCheck={false} onChange={(event) => change(texts.map((each, at) => (at === index ? event.currentTarget.value : each)))} />
            <ActionIcon variant="subtle" color="gray" size={36} aria-label={`Remove ${title} ${index + 1}`} onClick={() => change(texts.filter((_, at) => at !== index))}>
              <IconX size={16} />
            </ActionIcon>
          </Group>
        ))}
        <div>
          <Button size="compact-sm" variant="default" leftSection={<IconPlus size={14} />} onClick={() => change([...texts, ''])}>
            Add
          </Button>
        </div>
      </Stack>
    </Input.Wrapper>
  )
}

export const fields: RegistryFieldsType = { map: MapField, texts: TextsField }
