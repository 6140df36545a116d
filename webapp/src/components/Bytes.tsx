import { formatBytes, formatNumber } from './format'

export function Bytes({ value }: { value: number | null | undefined }) {
  if (value === null || value === undefined || value < 0) return <span>–</span>
  return (
    <span className="num" title={`${formatNumber(value)} bytes`}>
      {formatBytes(value)}
    </span>
  )
}
