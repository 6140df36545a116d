import { MantineProvider } from '@mantine/core'
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react'
import { readFileSync } from 'node:fs'
import { useState } from 'react'
import { afterEach, beforeAll, expect, it, vi } from 'vitest'
import type { Schema } from '@/api/types'
import { DerivedForm } from './DerivedForm'
import { defaultsOf } from './schema'

interface Document {
  components: { schemas: Record<string, Schema> }
}

const document = JSON.parse(readFileSync('../api/openapi.json', 'utf8')) as Document
const inputs = Object.entries(document.components.schemas).filter(([name]) => /^(Instance|Host)[A-Z]\w+In$/.test(name))

beforeAll(() => {
  vi.stubGlobal('matchMedia', () => ({ matches: false, addEventListener: () => undefined, removeEventListener: () => undefined }))
  Object.defineProperty(globalThis.document, 'fonts', { value: new EventTarget() })
  vi.stubGlobal('ResizeObserver', class { observe() {} unobserve() {} disconnect() {} })
})
afterEach(cleanup)

interface HarnessProps {
  schema: Schema
  hidden?: string[]
  initial?: Record<string, unknown>
  faults?: Record<string, string>
  onSubmit?: (value: Record<string, unknown>) => void
}

const nothing: string[] = []

function Harness({ schema, hidden = nothing, initial = {}, faults = {}, onSubmit = () => undefined }: HarnessProps) {
  const [value, setValue] = useState({ ...defaultsOf(schema), ...initial })
  return (
    <MantineProvider env="test">
      <DerivedForm id="f" schema={schema} hidden={hidden} value={value} onChange={setValue} faults={faults} onSubmit={() => onSubmit(value)} />
      <button type="submit" form="f">
        Send
      </button>
    </MantineProvider>
  )
}

const objects = ['host_id', 'instance_id']

it('knows the operations of the document', () => {
  expect(inputs.length).toBeGreaterThan(5)
})

// Whatever operation there is has a form without anything being written for it.
it.each(inputs)('makes a form of %s', (_name, schema) => {
  const { container } = render(<Harness schema={schema} hidden={objects} />)
  expect(container.textContent).not.toContain('no form yet')
  const fields = Object.keys(schema.properties ?? {}).filter((name) => !objects.includes(name) && name !== '$schema')
  for (const name of fields) {
    const property = schema.properties?.[name]
    if (property?.type === 'array' || property?.type === 'object') continue
    expect(container.querySelector(`[id="f.${name}"]`), name).not.toBeNull()
  }
})

const stop: Schema = {
  type: 'object',
  required: ['name', 'port'],
  properties: {
    name: { type: 'string', maxLength: 5 },
    port: { type: 'integer', minimum: 1024, default: 5432 },
    tags: { type: 'object', additionalProperties: { type: 'string' } },
    args: { type: 'array', items: { type: 'string' } },
  },
}

it('complains only after the person was there', () => {
  render(<Harness schema={stop} />)
  expect(screen.queryByText('This is needed.')).toBeNull()
  fireEvent.blur(screen.getByLabelText(/^Name/))
  expect(screen.queryByText('This is needed.')).not.toBeNull()
  fireEvent.change(screen.getByLabelText(/^Name/), { target: { value: 'too long' } })
  expect(screen.queryByText('Must have 5 characters or fewer.')).not.toBeNull()
})

it('goes to the first fault and sends nothing', async () => {
  const sent = vi.fn()
  render(<Harness schema={stop} onSubmit={sent} />)
  fireEvent.click(screen.getByText('Send'))
  expect(sent).not.toHaveBeenCalled()
  await waitFor(() => expect(globalThis.document.activeElement?.id).toBe('f.name'))
})

it('sends maps and lists', () => {
  const sent = vi.fn()
  render(<Harness schema={stop} onSubmit={sent} initial={{ name: 'a' }} />)
  const [addTag, addArg] = screen.getAllByText('Add')
  fireEvent.click(addTag as HTMLElement)
  fireEvent.change(screen.getByLabelText('Name 1'), { target: { value: 'env' } })
  fireEvent.change(screen.getByLabelText('Value of env'), { target: { value: 'test' } })
  fireEvent.click(addArg as HTMLElement)
  fireEvent.change(screen.getByLabelText('Args 1'), { target: { value: '-v' } })
  fireEvent.click(screen.getByText('Send'))
  expect(sent).toHaveBeenCalledExactlyOnceWith({ name: 'a', port: 5432, tags: { env: 'test' }, args: ['-v'] })
})

it('shows at the field what the manager found', () => {
  render(<Harness schema={stop} faults={{ port: 'is taken' }} initial={{ name: 'a' }} />)
  expect(screen.queryByText('is taken')).not.toBeNull()
})
