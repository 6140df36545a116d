import { Text, UnstyledButton } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { IconArrowBackUp, IconChevronDown, IconChevronRight, IconLoader } from '@tabler/icons-react'
import { useId, useState } from 'react'
import type { Step } from '@/api/types'
import { stateWord } from '@/components/states'
import { Duration } from '@/components/Time'
import { OutputView } from './OutputView'
import { StepProgress } from './StepProgress'
import classes from './StepList.module.css'

interface Props {
  operation: string
  steps: Step[]
  // The step the URL points at is open and shown.
  selected?: string | undefined
  // The failure that the page shows above, not to be said twice.
  told?: string | undefined
}

// StepList is the story of an operation: one line down the page, the running step open.
export function StepList({ operation, steps, selected, told }: Props) {
  return (
    <ol className={classes.steps}>
      {steps.map((step) => (
        <StepItem key={step.step} operation={operation} step={step} selected={step.step === selected} told={told} />
      ))}
    </ol>
  )
}

function StepItem({ operation, step, selected, told }: { operation: string; step: Step; selected: boolean; told: string | undefined }) {
  const [chosen, setChosen] = useState<boolean>()
  const id = useId()
  const live = step.state === 'running' || step.state === 'retrying'
  const opened = chosen ?? (selected || live || step.state === 'failed')
  const { word, tone, icon: StateIcon } = stateWord('step', step.state)
  const Chevron = opened ? IconChevronDown : IconChevronRight
  return (
    <li className={classes.step} data-undo={step.undo || undefined} id={`step-${step.step}`}>
      <span className={`${classes.dot ?? ''} ${classes[tone] ?? ''}`}>
        <StateIcon size={16} aria-hidden className={StateIcon === IconLoader ? classes.turning : undefined} />
      </span>
      <div className={classes.content}>
        <UnstyledButton className={classes.head} aria-expanded={opened} aria-controls={id} onClick={() => setChosen(!opened)}>
          <span className={classes.title}>
            {step.undo && (
              <span className={classes.undo}>
                <IconArrowBackUp size={14} aria-hidden /> Undo
              </span>
            )}
            {step.title}
            <span className="visually-hidden">, {word}</span>
          </span>
          <span className={classes.meta}>
            {step.attempt > 1 && <span className={classes.attempt}>attempt {step.attempt}</span>}
            {step.state !== 'completed' && <span className={classes[`${tone}Text`]}>{word}</span>}
            <Duration from={step.started_at} to={step.ended_at} />
            <Chevron size={16} aria-hidden />
          </span>
        </UnstyledButton>
        <Text size="xs" c="dimmed" component="div">
          <span className="mono">{step.verb}</span>
          {step.host_id ? (
            <>
              {' on '}
              <Link to="/hosts/$id" params={{ id: step.host_id }} className="plain">
                {step.host_name ?? 'the host'}
              </Link>
            </>
          ) : (
            ' beside the manager'
          )}
        </Text>
        {step.progress && live ? (
          <div className={classes.progress}>
            <StepProgress progress={step.progress} title={step.title} />
          </div>
        ) : null}
        <div id={id}>
          {opened && (
            <div className={classes.detail}>
              {step.failure && step.failure.message !== told && (
                <div className={classes.failure}>
                  {step.failure.message}
                  {step.failure.hint ? <div className={classes.hint}>{step.failure.hint}</div> : null}
                  <span className="mono">{step.failure.code}</span>
                </div>
              )}
              <OutputView operation={operation} step={step.step} live={live} />
            </div>
          )}
        </div>
      </div>
    </li>
  )
}
