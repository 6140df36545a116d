import { Text } from '@mantine/core'
import { useSearch } from '@tanstack/react-router'
import { IconListCheck } from '@tabler/icons-react'
import { EmptyState } from '@/components/EmptyState'
import { PageHeader } from '@/components/PageHeader'
import { useListState } from '@/components/useListState'
import { OperationList } from './OperationList'

export function OperationListPage() {
  const search = useSearch({ from: '/app/operations' })
  const state = useListState(search)
  return (
    <>
      <PageHeader title="Operations" lead="Every change is an operation: a durable workflow with steps, output and an end." />
      <OperationList
        state={state}
        empty={
          <EmptyState icon={IconListCheck} title="No operation yet">
            <Text inherit>Whatever you start, stop, create or change appears here, step by step, with its output, and stays as the record of what was done.</Text>
          </EmptyState>
        }
      />
    </>
  )
}
