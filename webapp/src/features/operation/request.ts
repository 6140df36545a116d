import { secretFields } from '@/components/form/schema'
import type { OperationType } from '@/api/types'

// The same request for a terminal. Secrets are not copied: they would stay in a shell's history.

function shellQuote(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

function withoutSecrets(type: OperationType, input: Record<string, unknown>): Record<string, unknown> {
  const secrets = secretFields(type.input_schema)
  return Object.fromEntries(Object.entries(input).map(([key, value]) => [key, secrets.has(key) ? '********' : value]))
}

export function asCurl(type: OperationType, input: Record<string, unknown>, origin: string): string {
  const body = JSON.stringify(withoutSecrets(type, input), null, 2)
  return [
    `curl -X POST ${shellQuote(`${origin}/api/v1/operations/${type.name}`)} \\`,
    `  -H "Authorization: Bearer $PGDROVER_TOKEN" \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d ${shellQuote(body)}`,
  ].join('\n')
}

export function asCli(type: OperationType, input: Record<string, unknown>): string {
  return `pgdrover run ${type.name} --input ${shellQuote(JSON.stringify(withoutSecrets(type, input)))}`
}
