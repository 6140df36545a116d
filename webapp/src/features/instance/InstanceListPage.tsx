import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useSearch } from '@tanstack/react-router'
import { IconPlus } from '@tabler/icons-react'
import { PageHeader } from '@/components/PageHeader'
import { useListState } from '@/components/useListState'
import { HostName } from '@/features/host/HostName'
import { operationTypesQuery } from '@/features/operation/api'
import { InstanceList } from './InstanceList'

export function InstanceListPage() {
  const search = useSearch({ from: '/app/instances' })
  const state = useListState(search)
  const mayCreate = useQuery(operationTypesQuery).data?.some((type) => type.name === 'instance-create' && type.allowed)
  return (
    <>
      <PageHeader
        title="Instances"
        lead={
          search.host_id ? (
            <>
              Only those on <HostName id={search.host_id} />.{' '}
              <Link to="/instances" search={{}}>
                Show all
              </Link>
            </>
          ) : undefined
        }
        actions={
          mayCreate ? (
            <Button leftSection={<IconPlus size={16} />} renderRoot={(props) => <Link {...props} to="/instances/new" />}>
              Create instance
            </Button>
          ) : null
        }
      />
      <InstanceList state={state} />
    </>
  )
}
