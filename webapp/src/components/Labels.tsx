import { TagsInput } from '@mantine/core'
import { useState } from 'react'
import classes from './Labels.module.css'

type LabelMap = Record<string, string>

// Labels shows key=value pairs as small tags.
export function Labels({ labels, none = '–' }: { labels: LabelMap; none?: string }) {
  const entries = Object.entries(labels)
  if (entries.length === 0) return <span>{none}</span>
  return (
    <span className={classes.labels}>
      {entries.map(([key, value]) => (
        <span key={key} className={classes.label}>
          {value ? `${key}=${value}` : key}
        </span>
      ))}
    </span>
  )
}

export function labelsText(labels: LabelMap): string {
  return Object.entries(labels)
    .map(([key, value]) => (value ? `${key}=${value}` : key))
    .join(' ')
}

export function parseLabels(tags: string[]): LabelMap {
  const out: LabelMap = {}
  for (const tag of tags) {
    const at = tag.indexOf('=')
    const key = (at < 0 ? tag : tag.slice(0, at)).trim()
    if (key) out[key] = at < 0 ? '' : tag.slice(at + 1).trim()
  }
  return out
}

interface InputProps {
  value: LabelMap
  onChange: (labels: LabelMap) => void
  error?: string | undefined
}

export function LabelsInput({ value, onChange, error }: InputProps) {
  const [text, setText] = useState('')
  return (
    <TagsInput
      label="Labels"
      description="key=value, Enter after each; lists can be filtered by them"
      placeholder={Object.keys(value).length === 0 ? 'env=production' : ''}
      value={Object.entries(value).map(([key, each]) => (each ? `${key}=${each}` : key))}
      onChange={(tags) => onChange(parseLabels(tags))}
      searchValue={text}
      onSearchChange={setText}
      acceptValueOnBlur
      error={error}
    />
  )
}
