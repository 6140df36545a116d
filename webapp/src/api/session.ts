// Keeps the session alive. Its tokens are cookies that scripts cannot read; all we see is that an answer is 401.

let onSignedOut: () => void = () => undefined

// What to do when the session has ended and could not be renewed.
export function whenSignedOut(handler: () => void): void {
  onSignedOut = handler
}

const storageKey = 'pgdrover-refreshed'

function lastRefresh(): number {
  try {
    return Number(localStorage.getItem(storageKey) ?? 0)
  } catch {
    return 0
  }
}

async function refresh(failedAt: number): Promise<boolean> {
  // Another tab was faster: the cookies are new already.
  if (lastRefresh() > failedAt) return true
  try {
    const response = await fetch('/api/v1/sessions/refresh', { method: 'POST', headers: { 'X-Pgdrover-Client': 'web' } })
    if (!response.ok) return false
    localStorage.setItem(storageKey, String(Date.now()))
    return true
  } catch {
    return false
  }
}

// A refresh token is good once, and its second use ends the session as if it were stolen. So only one request of all
// tabs may refresh at a time.
async function refreshAlone(failedAt: number): Promise<boolean> {
  // Locks are there only on HTTPS and on this machine itself.
  const locks = (navigator as { locks?: LockManager }).locks
  return locks ? locks.request('pgdrover-refresh', async () => await refresh(failedAt)) : refresh(failedAt)
}

let refreshing: Promise<boolean> | undefined

// sessionFetch is fetch that renews the session once when the access token has expired.
export async function sessionFetch(request: Request): Promise<Response> {
  const again = request.clone()
  const sentAt = Date.now()
  const response = await fetch(request)
  const path = new URL(request.url).pathname
  if (response.status !== 401 || path === '/api/v1/sessions') return response
  refreshing ??= refreshAlone(sentAt).finally(() => {
    refreshing = undefined
  })
  if (!(await refreshing)) {
    onSignedOut()
    return response
  }
  const answer = await fetch(again)
  if (answer.status === 401) onSignedOut()
  return answer
}
