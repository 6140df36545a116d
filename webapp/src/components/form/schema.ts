import type { Schema } from '@/api/types'

// What the forms know of a schema beyond what a schema says: groups, folded fields, and fields that name an object.

export interface FormSection {
  title: string
  fields: string[]
}

export interface FormShape {
  sections: FormSection[]
  advanced: FormSection[]
}

export type UiHints = Record<string, Record<string, unknown>>

// cleanSchema drops what only the API needs, leaves nullable types their real one, and takes the hidden fields out
// of the form (their values stay in the data).
export function cleanSchema(schema: Schema, hidden: readonly string[] = []): Schema {
  const out: Schema = {}
  for (const [key, value] of Object.entries(schema)) {
    if (key === '$schema' || key === '$id' || key === 'readOnly') continue
    // The hidden fields are in the data all the same.
    if (key === 'additionalProperties' && value === false) continue
    out[key] = value
  }
  if (Array.isArray(schema.type)) {
    const real = schema.type.find((type) => type !== 'null')
    if (real) out.type = real
  }
  if (schema.properties) {
    const properties: Record<string, Schema> = {}
    for (const [name, property] of Object.entries(schema.properties)) {
      if (name === '$schema' || property.readOnly || hidden.includes(name)) continue
      properties[name] = cleanSchema(property)
    }
    out.properties = properties
  }
  if (schema.required) out.required = schema.required.filter((name) => !hidden.includes(name))
  if (schema.items) out.items = cleanSchema(schema.items)
  return out
}

// fieldTitle makes a person's words of a field's name: data_directory -> Data directory.
export function fieldTitle(name: string): string {
  const words = name.replace(/_(id|seconds)$/, (_, end: string) => (end === 'seconds' ? ' (seconds)' : '')).replaceAll('_', ' ')
  const upper: Record<string, string> = { sql: 'SQL', url: 'URL', dbms: 'DBMS', id: 'Id', os: 'OS' }
  return upper[words] ?? words.charAt(0).toUpperCase() + words.slice(1)
}

function isAdvanced(property: Schema): boolean {
  return property['x-advanced'] === true || property['x-advanced'] === 'true'
}

// orderedFields puts fields in their declared order where the schema tells it (x-order). JSON objects have none: then
// what must be filled in comes first, in the order in which it is listed.
export function orderedFields(schema: Schema): [name: string, property: Schema][] {
  const required = schema.required ?? []
  const rank = ([name, property]: [string, Schema]): number => {
    const order = Number(property['x-order'] ?? Number.NaN)
    if (!Number.isNaN(order)) return order
    const at = required.indexOf(name)
    return at < 0 ? 1000 : at
  }
  return Object.entries(schema.properties ?? {}).sort((a, b) => rank(a) - rank(b))
}

export function shapeOf(schema: Schema): FormShape {
  const shape: FormShape = { sections: [], advanced: [] }
  for (const [name, property] of orderedFields(schema)) {
    const sections = isAdvanced(property) ? shape.advanced : shape.sections
    const group = property['x-group']
    const title = typeof group === 'string' ? fieldTitle(group) : ''
    let section = sections.find((each) => each.title === title)
    if (!section) {
      section = { title, fields: [] }
      sections.push(section)
    }
    section.fields.push(name)
  }
  return shape
}

function isMap(schema: Schema): boolean {
  return schema.type === 'object' && !schema.properties && Boolean(schema.additionalProperties)
}

function isTextList(schema: Schema): boolean {
  return schema.type === 'array' && schema.items?.type === 'string' && !schema.items.enum
}

// hintsOf chooses the widget of every field whose name or hints say more than its type.
export function hintsOf(schema: Schema): UiHints {
  const hints: UiHints = {}
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const hint: Record<string, unknown> = { 'ui:title': property.title ?? fieldTitle(name) }
    const wanted = property['x-widget']
    if (typeof wanted === 'string') hint['ui:widget'] = wanted
    else if (property.format === 'password') hint['ui:widget'] = 'password'
    else if (name === 'host_id') hint['ui:widget'] = 'host'
    else if (name === 'instance_id') hint['ui:widget'] = 'instance'
    else if (name === 'sql' || property.format === 'sql') hint['ui:widget'] = 'sql'
    else if (property.format === 'textarea') hint['ui:widget'] = 'textarea'
    else if (isMap(property)) hint['ui:field'] = 'map'
    else if (isTextList(property)) hint['ui:field'] = 'texts'
    else if (property.type === 'object' && property.properties) Object.assign(hint, hintsOf(property))
    hints[name] = hint
  }
  return hints
}

// summaryOf tells in words what was filled in, without secrets and without what was left as it is by default.
export function summaryOf(schema: Schema, value: Record<string, unknown>): { label: string; value: string }[] {
  const secrets = secretFields(schema)
  return orderedFields(schema).flatMap(([name, property]) => {
    const each = value[name]
    if (each === undefined || each === '' || each === false) return []
    const text = secrets.has(name) ? '••••••••' : typeof each === 'string' ? each : each === true ? 'yes' : JSON.stringify(each)
    return [{ label: property.title ?? fieldTitle(name), value: text }]
  })
}

// secretFields are not shown again, neither in a copied request nor in a summary.
export function secretFields(schema: Schema): Set<string> {
  const out = new Set<string>()
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (property.format === 'password' || property.writeOnly === true) out.add(name)
  }
  return out
}

export function defaultsOf(schema: Schema): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (property.default !== undefined) out[name] = property.default
  }
  return out
}

// compact drops what was left empty, so that the manager's own defaults apply.
export function compact(value: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const [key, each] of Object.entries(value)) {
    if (each === undefined || each === '' || each === null) continue
    if (Array.isArray(each) && each.length === 0) continue
    if (typeof each === 'object' && !Array.isArray(each) && Object.keys(each).length === 0) continue
    out[key] = each
  }
  return out
}
