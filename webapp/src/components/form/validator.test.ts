import type { RJSFSchema } from '@rjsf/utils'
import { expect, it } from 'vitest'
import { faultsOf, validator } from './validator'

const schema: RJSFSchema = {
  type: 'object',
  required: ['name', 'port'],
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 3, pattern: '^[a-z]+$' },
    port: { type: 'integer', minimum: 1024, maximum: 65535 },
    mode: { type: 'string', enum: ['smart', 'fast'] },
    nested: { type: 'object', properties: { deep: { type: 'array', items: { type: 'string', minLength: 2 } } } },
  },
}

const messages = (value: unknown) => faultsOf(schema, value).map((fault) => `${fault.path.join('.')}: ${fault.message}`)

it('finds nothing wrong with what is right', () => {
  expect(messages({ name: 'a', port: 5432, mode: 'fast' })).toEqual([])
})

it('says what is missing at the field', () => {
  expect(messages({}).sort()).toEqual(['name: This is needed.', 'port: This is needed.'])
})

it('says what is wrong in words', () => {
  expect(messages({ name: 'abcd', port: 80 })).toEqual(['name: Must have 3 characters or fewer.', 'port: Must be 1024 or more.'])
  expect(messages({ name: 'A', port: 70000 })).toEqual(['name: Must match ^[a-z]+$', 'port: Must be 65535 or less.'])
  expect(messages({ name: 'a', port: 1.5 })).toContain('port: Must be a whole number.')
  expect(messages({ name: 'a', port: 5432, mode: 'slow' })).toEqual(['mode: Must be one of smart, fast.'])
})

it('looks into what is nested', () => {
  expect(messages({ name: 'a', port: 5432, nested: { deep: ['ok', 'x'] } })).toEqual(['nested.deep.1: Must have 2 characters or more.'])
})

it('takes what the form left undefined as absent', () => {
  const { errors, errorSchema } = validator.validateFormData({ name: undefined, port: 5432 }, schema)
  expect(errors.map((error) => error.property)).toEqual(['.name'])
  expect(errorSchema).toHaveProperty('name.__errors', ['This is needed.'])
})

it('does not make code of a schema', () => {
  const before = globalThis.Function
  globalThis.Function = (() => {
    throw new Error('eval')
  }) as unknown as FunctionConstructor
  try {
    expect(messages({ name: 'a', port: 5432 })).toEqual([])
  } finally {
    globalThis.Function = before
  }
})
