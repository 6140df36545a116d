import { Skeleton, Stack } from '@mantine/core'
import { lazy, Suspense, type ComponentProps } from 'react'
import type { DerivedForm as Form } from './DerivedForm'

const load = () => import('./DerivedForm').then((module) => ({ default: module.DerivedForm }))
const DerivedForm = lazy(load)

// LazyForm is DerivedForm on a page: the page is there first, the form's library comes after it.
export function LazyForm(props: ComponentProps<typeof Form>) {
  return (
    <Suspense fallback={<FormSkeleton />}>
      <DerivedForm {...props} />
    </Suspense>
  )
}

function FormSkeleton() {
  return (
    <Stack gap={24} role="status" aria-label="Loading the form">
      {[1, 2, 3, 4].map((row) => (
        <Skeleton key={row} height={44} />
      ))}
    </Stack>
  )
}
