import { Stack, Text } from '@mantine/core'
import { useRouter, type ErrorComponentProps } from '@tanstack/react-router'
import { useCallback, useEffect } from 'react'
import { problemOf } from '@/api/problem'
import { PageHeader, useTitle } from '@/components/PageHeader'
import { ProblemAlert } from '@/components/ProblemAlert'
import { meQuery } from '@/features/access/api'
import classes from './Failed.module.css'
import { Mark } from './Mark'
import { queryClient } from './queryClient'

// Failed takes the place of a page that broke; the shell around it stays.
export function Failed({ error }: ErrorComponentProps) {
  const router = useRouter()
  // A page's script is gone when a newer version was installed; then only a reload helps.
  const gone = /dynamically imported module|Importing a module script failed/.test(problemOf(error).message)
  return (
    <>
      <PageHeader title="The page could not be shown" />
      <ProblemAlert
        error={gone ? new Error('pgdrover was updated meanwhile. Load the page again.') : error}
        retry={() => {
          if (gone) window.location.reload()
          else void router.invalidate()
        }}
      />
    </>
  )
}

const retryEvery = 5000

// Away takes the place of everything while nobody can tell who is signed in: the manager or its repository is away.
export function Away({ error }: ErrorComponentProps) {
  const router = useRouter()
  useTitle('Away')
  const again = useCallback(async () => {
    try {
      await queryClient.query({ ...meQuery, staleTime: 0, retry: false })
    } catch (failure) {
      // Still away. Whoever is signed out is led to sign in by the route itself.
      if (problemOf(failure).status !== 401) return
    }
    await router.invalidate()
  }, [router])
  useEffect(() => {
    const timer = setInterval(() => void again(), retryEvery)
    return () => clearInterval(timer)
  }, [again])
  return (
    <main className={classes.page}>
      <Stack gap={16} maw={520} w="100%">
        <h1 className={classes.brand}>
          <Mark size={32} />
          pgdrover
        </h1>
        <ProblemAlert error={error} title="pgdrover is away" retry={() => void again()} />
        <Text size="sm" c="dimmed">
          It is tried again every few seconds. Operations that run go on meanwhile, and nothing accepted is lost.
        </Text>
      </Stack>
    </main>
  )
}

// Arriving is there while it is asked who is signed in.
export function Arriving() {
  return (
    <div className={classes.page} role="status" aria-label="Loading pgdrover">
      <Mark size={48} />
    </div>
  )
}
