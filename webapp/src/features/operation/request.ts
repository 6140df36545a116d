import type { OperationType, Schema } from '@/api/types'
import { orderedFields, secretFields } from '@/components/form/schema'

// The same request for a terminal. Secrets are not copied: they would stay in a shell's history. The command line asks
// for them.

export function shellQuote(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

export function asCurl(type: OperationType, input: Record<string, unknown>, origin: string): string {
  const secrets = secretFields(type.input_schema)
  const shown = Object.fromEntries(Object.entries(input).map(([key, value]) => [key, secrets.has(key) ? '********' : value]))
  return [
    `curl -X POST ${shellQuote(`${origin}/api/v1/operations/${type.name}`)} \\`,
    `  -H "Authorization: Bearer $PGDROVER_TOKEN" \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d ${shellQuote(JSON.stringify(shown, null, 2))}`,
  ].join('\n')
}

function isSimple(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

function flagOf(name: string, value: unknown, schema: Schema): string[] {
  const object = schema.format === 'uuid' && name.endsWith('_id')
  const flag = `--${(object ? name.slice(0, -3) : name).replaceAll('_', '-')}`
  if (value === true) return [flag]
  if (value === false) return [`${flag}=false`]
  if (isSimple(value)) return [`${flag} ${shellQuote(String(value))}`]
  if (Array.isArray(value) && value.every((each) => each === null || isSimple(each))) {
    return value.map((each: string | number | boolean | null) => `${flag} ${shellQuote(each === null ? '\\N' : String(each))}`)
  }
  if (typeof value === 'object' && value !== null && Object.values(value).every(isSimple) && !schema.properties) {
    return Object.entries(value).map(([key, each]) => `${flag} ${shellQuote(`${key}=${String(each)}`)}`)
  }
  return [`${flag} ${shellQuote(JSON.stringify(value))}`]
}

// asCli writes the command as pgdrover's command line derives it from the same declaration: instances restart ID --mode fast.
export function asCli(type: OperationType, input: Record<string, unknown>): string {
  const secrets = secretFields(type.input_schema)
  const positional = type.target === type.group ? `${type.target}_id` : undefined
  const words = ['pgdrover', `${type.group}s`, type.name.startsWith(`${type.group}-`) ? type.name.slice(type.group.length + 1) : type.name]
  const target = positional ? input[positional] : undefined
  if (typeof target === 'string') words.push(target)
  const flags: string[] = []
  for (const [name, schema] of orderedFields(type.input_schema)) {
    const value = input[name]
    if (value === undefined || value === schema.default || name === positional || secrets.has(name)) continue
    flags.push(...flagOf(name, value, schema))
  }
  const head = words.join(' ')
  return flags.length > 2 ? [head, ...flags.map((flag) => `  ${flag}`)].join(' \\\n') : [head, ...flags].join(' ')
}
