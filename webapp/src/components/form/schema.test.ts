import { describe, expect, it } from 'vitest'
import type { Schema } from '@/api/types'
import { cleanSchema, compact, defaultsOf, fieldTitle, hintsOf, orderedFields, secretFields, shapeOf, summaryOf } from './schema'

const schema: Schema = {
  type: 'object',
  additionalProperties: false,
  required: ['host_id', 'name', 'password'],
  properties: {
    $schema: { type: 'string', readOnly: true },
    args: { type: ['array', 'null'], items: { type: 'string' } },
    host_id: { type: 'string', format: 'uuid', 'x-group': 'Place' },
    locale: { type: 'string', default: 'C.UTF-8', 'x-group': 'Server', 'x-advanced': 'true' },
    name: { type: 'string', 'x-group': 'Place' },
    options: { type: 'object', additionalProperties: { type: 'string' } },
    password: { type: 'string', format: 'password', writeOnly: true, 'x-group': 'Access' },
    sql: { type: 'string', 'x-widget': 'sql' },
  },
}

describe('cleanSchema', () => {
  const clean = cleanSchema(schema, ['host_id'])
  it('leaves out what is no field, and what is hidden', () => {
    expect(Object.keys(clean.properties ?? {})).toEqual(['args', 'locale', 'name', 'options', 'password', 'sql'])
    expect(clean.required).toEqual(['name', 'password'])
    expect(clean.additionalProperties).toBeUndefined()
  })
  it('gives nullable fields their real type and keeps maps', () => {
    expect(clean.properties?.args?.type).toBe('array')
    expect(clean.properties?.options?.additionalProperties).toEqual({ type: 'string' })
  })
})

it('groups fields and folds the advanced ones', () => {
  expect(shapeOf(cleanSchema(schema))).toEqual({
    sections: [
      { title: 'Place', fields: ['host_id', 'name'] },
      { title: 'Access', fields: ['password'] },
      { title: '', fields: ['args', 'options', 'sql'] },
    ],
    advanced: [{ title: 'Server', fields: ['locale'] }],
  })
})

it('takes a declared order where there is one', () => {
  const ordered: Schema = { properties: { a: { 'x-order': 2 }, b: { 'x-order': 1 }, c: { 'x-order': 0 } }, required: ['a'] }
  expect(orderedFields(ordered).map(([name]) => name)).toEqual(['c', 'b', 'a'])
})

it('chooses widgets by name and hint', () => {
  const hints = hintsOf(cleanSchema(schema))
  expect(hints.host_id).toEqual({ 'ui:title': 'Host', 'ui:widget': 'host' })
  expect(hints.password?.['ui:widget']).toBe('password')
  expect(hints.sql?.['ui:widget']).toBe('sql')
  expect(hints.args?.['ui:field']).toBe('texts')
  expect(hints.options?.['ui:field']).toBe('map')
})

it('makes words of names', () => {
  expect(fieldTitle('data_directory')).toBe('Data directory')
  expect(fieldTitle('timeout_seconds')).toBe('Timeout (seconds)')
  expect(fieldTitle('instance_id')).toBe('Instance')
  expect(fieldTitle('sql')).toBe('SQL')
})

it('never shows a secret again', () => {
  expect(secretFields(schema)).toEqual(new Set(['password']))
  expect(summaryOf(schema, { name: 'a', password: 's3cret', args: ['x'] })).toEqual([
    { label: 'Name', value: 'a' },
    { label: 'Password', value: '••••••••' },
    { label: 'Args', value: '["x"]' },
  ])
})

it('leaves the defaults to the manager where nothing was filled in', () => {
  expect(defaultsOf(schema)).toEqual({ locale: 'C.UTF-8' })
  expect(compact({ a: '', b: undefined, c: [], d: {}, e: false, f: 0, g: null })).toEqual({ e: false, f: 0 })
})
