// Not from the index: that brings a test registry along.
import Form from '@rjsf/core/lib/components/Form.js'
import type { RJSFSchema, UiSchema } from '@rjsf/utils'
import { useEffect, useMemo, useRef, useState, type ReactNode } from 'react'
import type { Schema } from '@/api/types'
import { fields } from './fields'
import { cleanSchema, hintsOf } from './schema'
import { templates } from './templates'
import { faultsOf, validator, withoutUndefined } from './validator'
import { widgets, type FormContext } from './widgets'

interface Props {
  id: string
  schema: Schema
  value: Record<string, unknown>
  onChange: (value: Record<string, unknown>) => void
  onSubmit: () => void
  // Fields that are known already, such as the target: not shown, but sent.
  hidden?: readonly string[]
  // Widgets and hints of a hand-made page, over the derived ones.
  ui?: UiSchema
  // What the manager found wrong, by field.
  faults?: Record<string, string>
  // What a hand-made page's widgets need to know.
  extra?: Record<string, unknown>
  disabled?: boolean
  // The form is there: a button that sends it may be pressed.
  onReady?: () => void
  children?: ReactNode
}

const nothing: readonly string[] = []

// DerivedForm is a form made of a JSON Schema: grouped, the advanced part folded, checked while typing.
export function DerivedForm(props: Props) {
  const { id, schema, value, onChange, onSubmit, hidden = nothing, ui, faults, extra, disabled, onReady } = props
  const shown = useMemo(() => cleanSchema(schema, hidden), [schema, hidden])
  const uiSchema = useMemo(() => merge(hintsOf(shown), ui), [shown, ui])
  // A field complains once somebody has been in it, or once somebody tried to send the form.
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set())
  const [tries, setTries] = useState(0)
  const formRef = useRef<HTMLDivElement>(null)

  // The form library looks only after a change; a field that was left empty must say so too.
  const found = useMemo(() => Object.fromEntries(faultsOf(shown as RJSFSchema, withoutUndefined(value)).map((fault) => [fault.path.join('.'), fault.message])), [shown, value])

  useEffect(() => onReady?.(), [onReady])

  // The first fault takes the focus, once the form library has drawn it: that takes it one more round.
  useEffect(() => {
    if (tries === 0) return
    const timer = setTimeout(() => formRef.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus(), 0)
    return () => clearTimeout(timer)
  }, [tries])

  const context: FormContext = {
    touched,
    tried: tries > 0,
    faults: faults ?? {},
    found,
    value,
    set: (patch) => onChange({ ...value, ...patch }),
    extra: extra ?? {},
  }

  return (
    <div ref={formRef}>
      <Form
        id={id}
        schema={shown as RJSFSchema}
        uiSchema={uiSchema}
        formData={value}
        formContext={context}
        validator={validator}
        widgets={widgets}
        fields={fields}
        templates={templates}
        idPrefix={id}
        idSeparator="."
        noHtml5Validate
        showErrorList={false}
        disabled={disabled ?? false}
        experimental_componentUpdateStrategy="always"
        experimental_defaultFormStateBehavior={{ emptyObjectFields: 'skipEmptyDefaults' }}
        onChange={({ formData }) => onChange((formData ?? {}) as Record<string, unknown>)}
        onBlur={(field) => setTouched((before) => (before.has(field) ? before : new Set(before).add(field)))}
        onSubmit={() => onSubmit()}
        onError={() => setTries((count) => count + 1)}
      >
        {props.children ?? <></>}
      </Form>
    </div>
  )
}

function merge(base: Record<string, Record<string, unknown>>, over: UiSchema | undefined): UiSchema {
  const out: UiSchema = { ...base }
  for (const [key, value] of Object.entries((over ?? {}) as Record<string, unknown>)) {
    out[key] = typeof value === 'object' && value !== null ? { ...(base[key] ?? {}), ...(value) } : value
  }
  return out
}
