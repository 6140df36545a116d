import type { Facts, Instance } from '@/api/types'

// What a new instance is likely to want, given what is on the host.

export interface VersionChoice {
  version: string
  edition: string
  label: string
}

// versionsOf lists what can be created with the installed programs, the newest first.
export function versionsOf(facts: Facts | undefined): VersionChoice[] {
  const seen = new Map<string, VersionChoice>()
  for (const { major, version, edition } of facts?.binaries ?? []) {
    const key = `${edition} ${major}`
    const known = seen.get(key)
    if (!known || compare(version, known.label) > 0) seen.set(key, { version: major, edition, label: version })
  }
  return [...seen.values()].sort((a, b) => compare(b.version, a.version) || a.edition.localeCompare(b.edition))
}

function compare(a: string, b: string): number {
  const left = a.split('.').map(Number)
  const right = b.split('.').map(Number)
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

// freePort is the first port from 5432 on that no known instance of the host has.
export function freePort(instances: readonly Pick<Instance, 'port'>[]): number {
  const taken = new Set(instances.map((instance) => instance.port))
  let port = 5432
  while (taken.has(port)) port += 1
  return port
}

export function proposedDirectory(dataRoot: string | undefined, name: string): string {
  if (!dataRoot || !name) return ''
  return `${dataRoot.replace(/\/+$/, '')}/${name}`
}
