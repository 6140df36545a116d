import { Validator, type OutputUnit, type Schema as CfSchema } from '@cfworker/json-schema'
import { toErrorSchema, type RJSFSchema, type RJSFValidationError, type ValidatorType } from '@rjsf/utils'

// A validator that interprets schemas. The usual one compiles them to JavaScript, which a content security policy
// without unsafe-eval forbids.

interface Node extends RJSFSchema {
  properties?: Record<string, Node>
}

// The faults of containers only repeat those of what they contain.
const containers = new Set(['properties', 'items', 'prefixItems', 'additionalProperties', 'allOf', 'anyOf', 'oneOf', '$ref', 'if', 'then', 'else'])

function pathOf(location: string): string[] {
  return location
    .replace(/^#\/?/, '')
    .split('/')
    .filter((part) => part !== '')
    .map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~'))
}

function nodeAt(schema: Node, path: string[]): Node {
  let node: Node | undefined = schema
  for (const part of path) {
    const items: unknown = node?.items
    node = node?.properties?.[part] ?? (/^\d+$/.test(part) && typeof items === 'object' ? (items as Node) : undefined)
  }
  return node ?? {}
}

function sentence(unit: OutputUnit, node: Node): string {
  const plural = (count: unknown, word: string) => `${String(count)} ${word}${count === 1 ? '' : 's'}`
  switch (unit.keyword) {
    case 'minimum':
      return `Must be ${String(node.minimum)} or more.`
    case 'maximum':
      return `Must be ${String(node.maximum)} or less.`
    case 'exclusiveMinimum':
      return `Must be more than ${String(node.exclusiveMinimum)}.`
    case 'exclusiveMaximum':
      return `Must be less than ${String(node.exclusiveMaximum)}.`
    case 'minLength':
      return node.minLength === 1 ? 'Must not be empty.' : `Must have ${plural(node.minLength, 'character')} or more.`
    case 'maxLength':
      return `Must have ${plural(node.maxLength, 'character')} or fewer.`
    case 'pattern':
      return typeof node.patternDescription === 'string' ? `Must be ${node.patternDescription}.` : `Must match ${String(node.pattern)}`
    case 'enum':
      return `Must be one of ${(node.enum ?? []).map(String).join(', ')}.`
    case 'type':
      return `Must be ${node.type === 'integer' ? 'a whole number' : node.type === 'number' ? 'a number' : `of type ${String(node.type)}`}.`
    case 'minItems':
      return `Needs ${plural(node.minItems, 'entry').replace('entrys', 'entries')} or more.`
    case 'maxItems':
      return `Takes ${plural(node.maxItems, 'entry').replace('entrys', 'entries')} or fewer.`
    case 'format':
      return `Must be a valid ${String(node.format)}.`
    default:
      return unit.error
  }
}

function missingOf(unit: OutputUnit): string {
  return /"([^"]+)"/.exec(unit.error)?.[1] ?? ''
}

// faultsOf tells what is wrong with a value, in words for a person; the path is that of the field at fault.
export function faultsOf(schema: RJSFSchema, value: unknown): { path: string[]; keyword: string; message: string }[] {
  const { errors } = new Validator(schema as CfSchema, '2020-12', false).validate(value ?? {})
  const out = new Map<string, { path: string[]; keyword: string; message: string }>()
  for (const unit of errors) {
    if (containers.has(unit.keyword)) continue
    const path = pathOf(unit.instanceLocation)
    const fault =
      unit.keyword === 'required'
        ? { path: [...path, missingOf(unit)], keyword: 'required', message: 'This is needed.' }
        : { path, keyword: unit.keyword, message: sentence(unit, nodeAt(schema as Node, path)) }
    const key = fault.path.join('\n')
    if (!out.has(key)) out.set(key, fault)
  }
  return [...out.values()]
}

export function withoutUndefined(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? {})) as unknown
}

export const validator: ValidatorType = {
  validateFormData(formData, schema) {
    const errors: RJSFValidationError[] = faultsOf(schema, withoutUndefined(formData)).map((fault) => ({
      name: fault.keyword,
      property: `.${fault.path.join('.')}`,
      message: fault.message,
      stack: `${fault.path.join('.')} ${fault.message}`,
    }))
    return { errors, errorSchema: toErrorSchema(errors) }
  },
  isValid(schema, formData, rootSchema) {
    const whole = rootSchema.$defs ? { ...schema, $defs: rootSchema.$defs } : schema
    return new Validator(whole as CfSchema, '2020-12').validate(withoutUndefined(formData)).valid
  },
  rawValidation(schema, formData) {
    return { errors: faultsOf(schema, withoutUndefined(formData)) as never[] }
  },
}
