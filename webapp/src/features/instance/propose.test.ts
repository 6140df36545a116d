import { expect, it } from 'vitest'
import type { Facts } from '@/api/types'
import { freePort, proposedDirectory, versionsOf } from './propose'

const facts = {
  binaries: [
    { major: '9', version: '9.6.24', edition: 'postgresql', dir: '/a', source: 'folder' },
    { major: '15', version: '15.3', edition: 'postgresql', dir: '/b', source: 'debian' },
    { major: '15', version: '15.12', edition: 'postgresql', dir: '/c', source: 'pgdg' },
    { major: '16', version: '16.8.1', edition: 'pgpro-enterprise', dir: '/d', source: 'pgpro' },
  ],
} as unknown as Facts

it('offers each major version once, the newest first', () => {
  expect(versionsOf(facts).map((each) => `${each.edition} ${each.version} ${each.label}`)).toEqual(['pgpro-enterprise 16 16.8.1', 'postgresql 15 15.12', 'postgresql 9 9.6.24'])
  expect(versionsOf(undefined)).toEqual([])
})

it('finds a free port and a directory', () => {
  expect(freePort([])).toBe(5432)
  expect(freePort([{ port: 5432 }, { port: 5433 }, { port: 5435 }])).toBe(5434)
  expect(proposedDirectory('/var/lib/pgdrover/', 'orders')).toBe('/var/lib/pgdrover/orders')
  expect(proposedDirectory(undefined, 'orders')).toBe('')
})
