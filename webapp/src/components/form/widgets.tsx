import { Checkbox, Input, NumberInput, PasswordInput, SegmentedControl, Select, Text, Textarea, TextInput } from '@mantine/core'
import type { RegistryWidgetsType, WidgetProps } from '@rjsf/utils'
import type { FocusEvent, ReactNode } from 'react'
import { HostPicker, InstancePicker } from './pickers'

// What the widgets know of the form they are in.
export interface FormContext {
  touched: ReadonlySet<string>
  tried: boolean
  // What the manager found wrong, and what we find, by the field's path.
  faults: Record<string, string>
  found: Record<string, string>
  value: Record<string, unknown>
  set: (patch: Record<string, unknown>) => void
  extra: Record<string, unknown>
}

export function contextOf(props: Pick<WidgetProps, 'registry'>): FormContext {
  return props.registry.formContext as FormContext
}

// errorOf is the fault a field shows now: the manager's if it found one, else ours once the person was there.
export function errorOf(context: FormContext, id: string): string | undefined {
  const path = id.split('.').slice(1).join('.')
  if (context.faults[path]) return context.faults[path]
  if (!context.tried && !context.touched.has(id)) return undefined
  return context.found[path]
}

export function isDefault(props: Pick<WidgetProps, 'schema' | 'value'>): boolean {
  return props.schema.default !== undefined && props.schema.default !== '' && props.value === props.schema.default
}

export function labelWithDefault(label: string, standard: boolean): ReactNode {
  if (!standard) return label
  return (
    <>
      {label}{' '}
      <Text span size="xs" c="dimmed" fw={400}>
        default
      </Text>
    </>
  )
}

// common is what every Mantine input of a field takes.
export function common(props: WidgetProps) {
  const context = contextOf(props)
  return {
    id: props.id,
    label: props.hideLabel ? undefined : labelWithDefault(props.label, isDefault(props)),
    'aria-label': props.hideLabel ? props.label : undefined,
    description: props.options.description ?? props.schema.description,
    error: errorOf(context, props.id),
    required: props.required ?? false,
    disabled: (props.disabled ?? false) || (props.readonly ?? false),
    onBlur: (event: FocusEvent<HTMLElement>) => props.onBlur(props.id, (event.target as HTMLInputElement).value),
  }
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

function placeholderOf(props: WidgetProps): string | undefined {
  if (props.placeholder) return props.placeholder
  const example: unknown = Array.isArray(props.schema.examples) ? props.schema.examples[0] : undefined
  return typeof example === 'string' || typeof example === 'number' ? `e.g. ${example}` : undefined
}

function TextWidget(props: WidgetProps) {
  if (props.schema.type === 'integer' || props.schema.type === 'number') return <NumberWidget {...props} />
  return (
    <TextInput
      {...common(props)}
      value={textOf(props.value)}
      placeholder={placeholderOf(props)}
      autoComplete="off"
      spellCheck={false}
      onChange={(event) => props.onChange(event.currentTarget.value === '' ? undefined : event.currentTarget.value)}
    />
  )
}

function NumberWidget(props: WidgetProps) {
  return (
    <NumberInput
      {...common(props)}
      value={typeof props.value === 'number' ? props.value : ''}
      placeholder={placeholderOf(props)}
      allowDecimal={props.schema.type !== 'integer'}
      clampBehavior="none"
      maw={240}
      onChange={(value) => props.onChange(value === '' ? undefined : Number(value))}
    />
  )
}

function PasswordWidget(props: WidgetProps) {
  return (
    <PasswordInput
      {...common(props)}
      value={textOf(props.value)}
      autoComplete="new-password"
      visibilityToggleButtonProps={{ 'aria-label': 'Show the password', tabIndex: 0 }}
      onChange={(event) => props.onChange(event.currentTarget.value === '' ? undefined : event.currentTarget.value)}
    />
  )
}

function TextareaWidget(props: WidgetProps) {
  return (
    <Textarea
      {...common(props)}
      value={textOf(props.value)}
      placeholder={placeholderOf(props)}
      autosize
      minRows={3}
      maxRows={16}
      onChange={(event) => props.onChange(event.currentTarget.value === '' ? undefined : event.currentTarget.value)}
    />
  )
}

function SqlWidget(props: WidgetProps) {
  return (
    <Textarea
      {...common(props)}
      value={textOf(props.value)}
      placeholder={placeholderOf(props)}
      autosize
      minRows={4}
      maxRows={20}
      spellCheck={false}
      styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } }}
      onChange={(event) => props.onChange(event.currentTarget.value === '' ? undefined : event.currentTarget.value)}
    />
  )
}

function CheckboxWidget(props: WidgetProps) {
  const { id, label, description, error, disabled } = common(props)
  return <Checkbox id={id} label={label ?? props.label} description={description} error={error} disabled={disabled} checked={props.value === true} onChange={(event) => props.onChange(event.currentTarget.checked)} />
}

function SelectWidget(props: WidgetProps) {
  const options = (props.options.enumOptions ?? []).map((option) => ({ value: String(option.value), label: option.label }))
  const choose = (text: string | null) => {
    const option = props.options.enumOptions?.find((each) => String(each.value) === text)
    props.onChange(option?.value)
  }
  const shared = common(props)
  const few = options.length <= 4 && options.every((option) => option.label.length <= 14 && option.label !== '')
  if (few && !props.multiple) {
    return (
      <Input.Wrapper id={props.id} label={shared.label} description={shared.description} error={shared.error} required={shared.required} labelElement="div">
        <div>
          <SegmentedControl mt={4} aria-label={props.label} data={options} disabled={shared.disabled} value={props.value === undefined ? '' : String(props.value)} onChange={choose} />
        </div>
      </Input.Wrapper>
    )
  }
  return (
    <Select
      {...shared}
      data={options}
      searchable={options.length > 8}
      value={props.value === undefined ? null : String(props.value)}
      clearable={!props.required}
      allowDeselect={!props.required}
      onChange={choose}
    />
  )
}

function HostWidget(props: WidgetProps) {
  return <HostPicker {...common(props)} value={textOf(props.value)} onChange={(id) => props.onChange(id)} />
}

function InstanceWidget(props: WidgetProps) {
  return <InstancePicker {...common(props)} value={textOf(props.value)} onChange={(id) => props.onChange(id)} />
}

export const widgets: RegistryWidgetsType = {
  TextWidget,
  PasswordWidget,
  TextareaWidget,
  CheckboxWidget,
  SelectWidget,
  UpDownWidget: NumberWidget,
  EmailWidget: TextWidget,
  URLWidget: TextWidget,
  password: PasswordWidget,
  textarea: TextareaWidget,
  sql: SqlWidget,
  host: HostWidget,
  instance: InstanceWidget,
}
