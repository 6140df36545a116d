import { ActionIcon, Button, CopyButton, Text, Tooltip } from '@mantine/core'
import { IconArrowDown, IconCheck, IconCopy } from '@tabler/icons-react'
import { useEffect, useRef, useState } from 'react'
import { problemOf } from '@/api/problem'
import type { OutputChunk } from '@/api/types'
import { onChange } from '@/app/events'
import { readOutput } from './api'
import { appendChunks, runsOf } from './output'
import classes from './OutputView.module.css'

interface Props {
  operation: string
  step: string
  // While it runs the output is followed.
  live: boolean
}

// useOutput reads a step's output from where it was last, whenever the manager says that there is more.
function useOutput(operation: string, step: string, live: boolean) {
  const [chunks, setChunks] = useState<OutputChunk[]>([])
  const [state, setState] = useState<'reading' | 'read' | { failed: string }>('reading')
  const [reading, setReading] = useState(0)

  useEffect(() => {
    const abort = new AbortController()
    let offset = 0
    let busy = false
    let again = false
    const read = async () => {
      if (busy) {
        again = true
        return
      }
      busy = true
      try {
        do {
          again = false
          const page = await readOutput(operation, { step, offset }, abort.signal)
          const fresh = page.chunks
          if (fresh.length > 0) {
            again = page.next_offset > offset
            setChunks((known) => appendChunks(known, fresh))
          }
          offset = Math.max(offset, page.next_offset)
        } while (again && !abort.signal.aborted)
        setState('read')
      } catch (error) {
        if (!abort.signal.aborted) setState({ failed: problemOf(error).message })
      } finally {
        busy = false
      }
    }
    void read()
    const stop = onChange((event) => {
      if (event.kind === 'output' && (event.parent === operation || event.id === operation)) void read()
    })
    return () => {
      abort.abort()
      stop()
    }
    // The end of a step is one more reason to read: its last output comes with it.
  }, [operation, step, live, reading])

  return { chunks, state, retry: () => setReading((count) => count + 1) }
}

export function OutputView({ operation, step, live }: Props) {
  const { chunks, state, retry } = useOutput(operation, step, live)
  const box = useRef<HTMLDivElement>(null)
  const [follow, setFollow] = useState(true)
  const runs = runsOf(chunks)
  const empty = runs.length === 0

  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight
  }, [chunks, follow])

  const scrolled = () => {
    const element = box.current
    if (element) setFollow(element.scrollHeight - element.scrollTop - element.clientHeight < 24)
  }
  if (typeof state === 'object') {
    return (
      <Text size="sm" c="dimmed">
        The output could not be read: {state.failed}{' '}
        <Button size="compact-xs" variant="default" onClick={retry}>
          Try again
        </Button>
      </Text>
    )
  }
  if (empty) {
    return (
      <Text size="xs" c="dimmed">
        {live ? 'No output yet.' : state === 'reading' ? 'Reading the output…' : 'This step wrote no output.'}
      </Text>
    )
  }
  const text = runs.map((run) => run.lines.join('\n')).join('\n')
  return (
    <div className={classes.frame}>
      {/* A region that scrolls must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <div className={classes.output} ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-label={`Output of ${step}`} aria-live="off">
        {runs.map((run) => (
          <div key={run.run}>
            {runs.length > 1 && <div className={classes.run}>attempt {run.run}</div>}
            {run.cut > 0 && <div className={classes.run}>{run.cut} earlier lines are not shown</div>}
            <pre>{run.lines.join('\n')}</pre>
          </div>
        ))}
      </div>
      <div className={classes.tools}>
        <CopyButton value={text}>
          {({ copied, copy }) => (
            <Tooltip label={copied ? 'Copied' : 'Copy the output'}>
              <ActionIcon variant="default" size="sm" onClick={copy} aria-label="Copy the output">
                {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
              </ActionIcon>
            </Tooltip>
          )}
        </CopyButton>
      </div>
      {live && !follow && (
        <Button className={classes.follow} size="compact-xs" leftSection={<IconArrowDown size={14} />} onClick={() => setFollow(true)}>
          Follow
        </Button>
      )}
    </div>
  )
}
