import { useClipboard } from '@mantine/hooks'
import { IconCheck, IconCopy } from '@tabler/icons-react'
import classes from './CopyId.module.css'

interface Props {
  value: string
  // What is shown, where the value is too long to read.
  text?: string
  label?: string
}

// CopyId shows a value that a click copies.
export function CopyId({ value, text = value, label = 'Copy' }: Props) {
  const clipboard = useClipboard({ timeout: 1500 })
  if (!value) return <span>–</span>
  return (
    <button
      type="button"
      className={classes.copy}
      title={clipboard.copied ? 'Copied' : `${label}: ${value}`}
      aria-label={`${label} ${value}`}
      onClick={(event) => {
        event.stopPropagation()
        clipboard.copy(value)
      }}
    >
      <span>{text}</span>
      {clipboard.copied ? <IconCheck size={14} aria-hidden color="var(--tone-ok)" /> : <IconCopy size={14} aria-hidden />}
      <span className="visually-hidden" role="status">
        {clipboard.copied ? 'Copied' : ''}
      </span>
    </button>
  )
}

// A UUIDv7 begins with its time, so its end tells more; the middle goes.
export function ShortId({ value }: { value: string }) {
  return <CopyId value={value} text={value.length > 14 ? `…${value.slice(-8)}` : value} label="Copy id" />
}
