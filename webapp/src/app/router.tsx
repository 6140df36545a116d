import { Button, Skeleton, Stack } from '@mantine/core'
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Link, redirect } from '@tanstack/react-router'
import { IconMapQuestion } from '@tabler/icons-react'
import { problemOf } from '@/api/problem'
import { EmptyState } from '@/components/EmptyState'
import { meQuery } from '@/features/access/api'
import { SignInPage } from '@/features/access/SignInPage'
import { Arriving, Away, Failed } from './Failed'
import { queryClient } from './queryClient'
import { Root } from './Root'
import { listSearch, parseSearch, stringifySearch } from './search'
import { Shell } from './Shell'

function NotFound() {
  return (
    <EmptyState
      icon={IconMapQuestion}
      alone
      title="There is nothing here"
      action={
        <Button renderRoot={(props) => <Link {...props} to="/" />} variant="default">
          To the overview
        </Button>
      }
    >
      The address leads to no page. The object may have been deleted.
    </EmptyState>
  )
}

function Pending() {
  return (
    <Stack gap={16} role="status" aria-label="Loading the page">
      <Skeleton height={28} width={240} />
      <Skeleton height={320} />
    </Stack>
  )
}

const root = createRootRoute({ component: Root, notFoundComponent: NotFound, errorComponent: Failed })

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  validateSearch: (raw: Record<string, unknown>): { to?: string } => (typeof raw.to === 'string' ? { to: raw.to } : {}),
  component: SignInPage,
})

const app = createRoute({
  getParentRoute: () => root,
  id: 'app',
  component: Shell,
  errorComponent: Away,
  pendingComponent: Arriving,
  beforeLoad: async ({ location }) => {
    try {
      await queryClient.query({ ...meQuery, staleTime: 'static' })
    } catch (error) {
      if (problemOf(error).status !== 401) throw error
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- the router's way to redirect
      throw redirect({ to: '/sign-in', search: location.href === '/' ? {} : { to: location.href } })
    }
  },
})

const tabbed =
  <Tab extends string, Filter extends string>(tabs: readonly Tab[], ...filters: Filter[]) =>
  (raw: Record<string, unknown>) => {
    const list = listSearch(...filters)(raw)
    const tab = tabs.find((each) => each === raw.tab)
    return tab ? { ...list, tab } : (list as typeof list & { tab?: Tab })
  }

const routes = [
  createRoute({ getParentRoute: () => app, path: '/', component: lazyRouteComponent(() => import('@/features/overview/OverviewPage'), 'OverviewPage') }),
  createRoute({
    getParentRoute: () => app,
    path: '/hosts',
    validateSearch: listSearch('state', 'online', 'label'),
    component: lazyRouteComponent(() => import('@/features/host/HostListPage'), 'HostListPage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/hosts/$id',
    validateSearch: tabbed(['instances', 'operations'], 'state', 'name', 'actor', 'dry_run', 'status', 'management', 'version'),
    component: lazyRouteComponent(() => import('@/features/host/HostPage'), 'HostPage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/instances',
    validateSearch: listSearch('host_id', 'status', 'management', 'version', 'label'),
    component: lazyRouteComponent(() => import('@/features/instance/InstanceListPage'), 'InstanceListPage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/instances/new',
    validateSearch: (raw: Record<string, unknown>): { host_id?: string } => (typeof raw.host_id === 'string' ? { host_id: raw.host_id } : {}),
    component: lazyRouteComponent(() => import('@/features/instance/CreateInstancePage'), 'CreateInstancePage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/instances/$id',
    validateSearch: tabbed(['query', 'operations'], 'state', 'name', 'actor', 'dry_run'),
    component: lazyRouteComponent(() => import('@/features/instance/InstancePage'), 'InstancePage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/operations',
    validateSearch: listSearch('state', 'name', 'target_id', 'host_id', 'actor', 'open', 'dry_run', 'schedule_id'),
    component: lazyRouteComponent(() => import('@/features/operation/OperationListPage'), 'OperationListPage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/operations/$id',
    validateSearch: (raw: Record<string, unknown>): { step?: string } => (typeof raw.step === 'string' ? { step: raw.step } : {}),
    component: lazyRouteComponent(() => import('@/features/operation/OperationPage'), 'OperationPage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/schedules',
    validateSearch: listSearch('kind'),
    component: lazyRouteComponent(() => import('@/features/schedule/ScheduleListPage'), 'ScheduleListPage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/schedules/new',
    validateSearch: (raw: Record<string, unknown>): { operation?: string } => (typeof raw.operation === 'string' ? { operation: raw.operation } : {}),
    component: lazyRouteComponent(() => import('@/features/schedule/ScheduleFormPage'), 'NewSchedulePage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/schedules/$id',
    validateSearch: listSearch(),
    component: lazyRouteComponent(() => import('@/features/schedule/SchedulePage'), 'SchedulePage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/schedules/$id/edit',
    component: lazyRouteComponent(() => import('@/features/schedule/ScheduleFormPage'), 'EditSchedulePage'),
  }),
  createRoute({
    getParentRoute: () => app,
    path: '/audit',
    validateSearch: listSearch('actor', 'action', 'target_id', 'result', 'from', 'to'),
    component: lazyRouteComponent(() => import('@/features/audit/AuditPage'), 'AuditPage'),
  }),
  createRoute({ getParentRoute: () => app, path: '/settings', component: lazyRouteComponent(() => import('@/features/settings/SettingsPage'), 'SettingsPage') }),
  createRoute({ getParentRoute: () => app, path: '$', component: NotFound }),
] as const

export const router = createRouter({
  routeTree: root.addChildren([signIn, app.addChildren(routes)]),
  parseSearch,
  stringifySearch,
  defaultPreload: 'intent',
  defaultPendingComponent: Pending,
  defaultPendingMs: 150,
  defaultErrorComponent: Failed,
  defaultNotFoundComponent: NotFound,
  scrollRestoration: true,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
