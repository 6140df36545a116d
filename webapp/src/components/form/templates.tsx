import { ActionIcon, Alert, Button, Collapse, Group, Stack, Text, Title } from '@mantine/core'
import type { ArrayFieldItemTemplateProps, ArrayFieldTemplateProps, FieldTemplateProps, FormProps, ObjectFieldTemplateProps, UnsupportedFieldProps } from './rjsf'
import { IconChevronDown, IconChevronRight, IconPlus, IconX } from '@tabler/icons-react'
import { useId, useState, type ReactNode } from 'react'
import type { Schema } from '@/api/types'
import { shapeOf, type FormSection } from './schema'
import { contextOf, errorOf } from './widgets'

// The inputs draw their own label, description and fault.
function FieldTemplate({ children, hidden }: FieldTemplateProps) {
  return <div style={hidden ? { display: 'none' } : undefined}>{children}</div>
}

function ObjectFieldTemplate(props: ObjectFieldTemplateProps) {
  const { properties, schema, title, description, fieldPathId, registry } = props
  const nested = fieldPathId.path.length > 0
  const shape = shapeOf(schema as Schema)
  const byName = new Map(properties.filter((property) => !property.hidden).map((property) => [property.name, property.content]))
  const { tried, faults, found } = contextOf({ registry })
  const faulty = new Set([...(tried ? Object.keys(found) : []), ...Object.keys(faults)].map((path) => path.split('.')[0]))
  const advancedFaulty = shape.advanced.some((section) => section.fields.some((name) => faulty.has(name)))
  const body = (
    <Stack gap={24}>
      {shape.sections.map((section) => (
        <Section key={section.title} section={section} content={byName} />
      ))}
      {shape.advanced.length > 0 && (
        <Folded open={advancedFaulty}>
          <Stack gap={24}>
            {shape.advanced.map((section) => (
              <Section key={section.title} section={section} content={byName} />
            ))}
          </Stack>
        </Folded>
      )}
    </Stack>
  )
  if (!nested) return body
  return (
    <fieldset style={{ border: '1px solid var(--line)', borderRadius: 8, padding: 16, margin: 0 }}>
      <legend style={{ fontWeight: 500, padding: '0 4px' }}>{title}</legend>
      {description ? (
        <Text size="sm" c="dimmed" mb={8}>
          {description}
        </Text>
      ) : null}
      {body}
    </fieldset>
  )
}

function Section({ section, content }: { section: FormSection; content: Map<string, ReactNode> }) {
  const id = useId()
  if (!section.fields.some((name) => content.has(name))) return null
  const fields = <Stack gap={16}>{section.fields.map((name) => (content.has(name) ? <div key={name}>{content.get(name)}</div> : null))}</Stack>
  if (!section.title) return fields
  return (
    <section aria-labelledby={id}>
      <Title order={2} size="h3" id={id} mb={12}>
        {section.title}
      </Title>
      {fields}
    </section>
  )
}

function Folded({ open, children }: { open: boolean; children: ReactNode }) {
  const [chosen, setChosen] = useState(false)
  const id = useId()
  const opened = chosen || open
  return (
    <div>
      <Button
        variant="subtle"
        color="gray"
        px={4}
        ml={-4}
        leftSection={opened ? <IconChevronDown size={16} /> : <IconChevronRight size={16} />}
        aria-expanded={opened}
        aria-controls={id}
        onClick={() => setChosen(!opened)}
      >
        Advanced
      </Button>
      <Collapse expanded={opened} id={id} transitionDuration={120}>
        <div style={{ paddingTop: 12 }}>{children}</div>
      </Collapse>
    </div>
  )
}

function ArrayFieldTemplate({ title, items, canAdd, onAddClick, schema, fieldPathId, registry }: ArrayFieldTemplateProps) {
  const error = errorOf(contextOf({ registry }), fieldPathId.$id)
  return (
    <div role="group" aria-label={title}>
      <Text size="sm" fw={500}>
        {title}
      </Text>
      {schema.description ? (
        <Text size="xs" c="dimmed">
          {schema.description}
        </Text>
      ) : null}
      <Stack gap={8} mt={4}>
        {items}
      </Stack>
      {error ? (
        <Text size="xs" c="var(--mantine-color-error)" mt={4}>
          {error}
        </Text>
      ) : null}
      {canAdd ? (
        <Button size="compact-sm" variant="default" mt={8} leftSection={<IconPlus size={14} />} onClick={onAddClick}>
          Add
        </Button>
      ) : null}
    </div>
  )
}

function ArrayFieldItemTemplate({ children, buttonsProps, index }: ArrayFieldItemTemplateProps) {
  return (
    <Group gap={8} align="flex-start" wrap="nowrap">
      <div style={{ flex: 1 }}>{children}</div>
      {buttonsProps.hasRemove ? (
        <ActionIcon variant="subtle" color="gray" size={36} aria-label={`Remove entry ${index + 1}`} onClick={buttonsProps.onRemoveItem}>
          <IconX size={16} />
        </ActionIcon>
      ) : null}
    </Group>
  )
}

function UnsupportedFieldTemplate({ reason, fieldPathId }: UnsupportedFieldProps) {
  return (
    <Alert color="amber" title={`${String(fieldPathId.path.at(-1) ?? 'This field')} has no form yet`}>
      {reason} Use the API or the command line to set it.
    </Alert>
  )
}

export const templates: NonNullable<FormProps['templates']> = {
  FieldTemplate,
  ObjectFieldTemplate,
  ArrayFieldTemplate,
  ArrayFieldItemTemplate,
  UnsupportedFieldTemplate,
}
