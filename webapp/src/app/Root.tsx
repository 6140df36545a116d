import { Notifications } from '@mantine/notifications'
import { Outlet } from '@tanstack/react-router'

// Root is inside the router, so that a toast can link to a page.
export function Root() {
  return (
    <>
      <Outlet />
      <section aria-label="Messages">
        <Notifications position="bottom-center" limit={4} withinPortal={false} />
      </section>
    </>
  )
}
