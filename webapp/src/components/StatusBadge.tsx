import { IconLoader } from '@tabler/icons-react'
import { stateWord, type Vocabulary } from './states'
import classes from './StatusBadge.module.css'

interface Props {
  kind: Vocabulary
  state: string
  // plain leaves the ground out: for lists, where a column of pills shouts.
  plain?: boolean
}

export function StatusBadge({ kind, state, plain = false }: Props) {
  const { word, tone, icon: StateIcon, means } = stateWord(kind, state)
  return (
    <span className={`${classes.badge} ${classes[tone] ?? ''} ${plain ? (classes.plain ?? '') : ''}`} title={means}>
      <StateIcon size={plain ? 16 : 14} stroke={2} aria-hidden className={StateIcon === IconLoader ? classes.turning : undefined} />
      {word}
    </span>
  )
}
