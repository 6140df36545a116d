import { expect, it } from 'vitest'
import type { OperationType, Schema } from '@/api/types'
import { asCli, asCurl } from './request'

const type = (name: string, group: string, target: OperationType['target'], properties: Record<string, Schema>, required: string[] = []): OperationType =>
  ({ name, group, target, input_schema: { type: 'object', properties, required } }) as OperationType

const create = type(
  'instance-create',
  'instance',
  'host',
  {
    host_id: { type: 'string', format: 'uuid' },
    name: { type: 'string' },
    port: { type: 'integer', default: 5432 },
    password: { type: 'string', format: 'password' },
    parameters: { type: 'object', additionalProperties: { type: 'string' } },
    data_checksums: { type: 'boolean', default: true },
  },
  ['host_id', 'name', 'port', 'password'],
)

it('names the target by its place where the group says so', () => {
  const restart = type('instance-restart', 'instance', 'instance', { instance_id: { type: 'string', format: 'uuid' }, mode: { type: 'string', default: 'fast' } }, ['instance_id'])
  expect(asCli(restart, { instance_id: 'abc', mode: 'fast' })).toBe('pgdrover instances restart abc')
  expect(asCli(restart, { instance_id: 'abc', mode: 'immediate' })).toBe('pgdrover instances restart abc --mode immediate')
})

it('leaves out defaults and secrets, repeats lists and maps', () => {
  expect(asCli(create, { host_id: 'h', name: "o'brien", port: 5433, password: 's3cret', parameters: { work_mem: '64 MB' }, data_checksums: false })).toBe(
    ["pgdrover instances create \\", '  --host h \\', "  --name 'o'\\''brien' \\", '  --port 5433 \\', "  --parameters 'work_mem=64 MB' \\", '  --data-checksums=false'].join('\n'),
  )
})

it('keeps secrets out of curl too', () => {
  const text = asCurl(create, { host_id: 'h', password: 's3cret' }, 'https://manager')
  expect(text).toContain('curl -X POST https://manager/api/v1/operations/instance-create')
  expect(text).not.toContain('s3cret')
})
