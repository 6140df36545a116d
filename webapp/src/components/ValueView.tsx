import { CodeBlock } from './Code'
import { ShortId } from './CopyId'

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

// ValueView shows a value of an input or a result of which only the schema is known.
export function ValueView({ value }: { value: unknown }) {
  if (value === null || value === undefined || value === '') return <>–</>
  if (typeof value === 'boolean') return <>{value ? 'yes' : 'no'}</>
  if (typeof value === 'number') return <span className="num">{value}</span>
  if (typeof value === 'string') {
    if (uuid.test(value)) return <ShortId value={value} />
    if (value.length > 120 || value.includes('\n')) return <CodeBlock label="the value" text={value} />
    return <span className="mono">{value}</span>
  }
  if (Array.isArray(value) && value.every((each) => typeof each !== 'object' || each === null)) {
    return value.length === 0 ? <>–</> : <span className="mono">{value.map(String).join(' ')}</span>
  }
  if (isRecord(value) && Object.values(value).every((each) => typeof each !== 'object')) {
    return (
      <>
        {Object.entries(value).map(([key, each]) => (
          <div key={key} className="mono">
            {key} = {String(each)}
          </div>
        ))}
      </>
    )
  }
  return <CodeBlock label="the value" text={JSON.stringify(value, null, 2)} />
}
