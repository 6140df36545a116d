import { Notifications } from '@mantine/notifications'
import { Outlet } from '@tanstack/react-router'

// Root is inside the router, so that a toast can link to a page.
export function Root() {
  return (
    <>
      <Outlet />
      <Notifications position="top-right" limit={4} />
    </>
  )
}
