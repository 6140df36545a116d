import type { LinkProps } from '@tanstack/react-router'
import { problemOf } from '@/api/problem'
import { PageHeader } from './PageHeader'
import { ProblemAlert } from './ProblemAlert'

interface Props {
  // What kind of object it is, e.g. "host".
  kind: string
  error: unknown
  retry: () => void
  up: { label: string; to: LinkProps['to'] }
}

// ObjectProblem is the page of an object that could not be read: it is gone, or the manager is.
export function ObjectProblem({ kind, error, retry, up }: Props) {
  const gone = problemOf(error).status === 404
  return (
    <>
      <PageHeader title={gone ? `No such ${kind}` : `The ${kind} could not be read`} up={up} />
      <ProblemAlert error={error} retry={gone ? undefined : retry} />
    </>
  )
}
