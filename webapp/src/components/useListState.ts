import { useLocation, useNavigate } from '@tanstack/react-router'
import type { Search } from '@/app/search'

declare module '@tanstack/history' {
  interface HistoryState {
    // The pages before this one: a keyset cursor only leads forward.
    pages?: { cursor: string; size: number }[]
  }
}

export interface ListState {
  search: Partial<Search>
  // How many rows come before this page; 0 also where nobody knows.
  offset: number
  set: (patch: Record<string, string | undefined>) => void
  setSort: (sort: string) => void
  clear: () => void
  next: (cursor: string, size: number) => void
  back: () => void
}

// withoutTab leaves out the tab, which is the page's and not the list's.
export function withoutTab(search: Partial<Search>): Partial<Search> {
  return Object.fromEntries(Object.entries(search).filter(([key]) => key !== 'tab'))
}

// useListState reads and writes the list's part of the URL. Any change but paging goes back to the first page.
export function useListState(search: Partial<Search>, keep: string[] = []): ListState {
  const navigate = useNavigate()
  const pages = useLocation({ select: (location) => location.state.pages }) ?? []

  const go = (next: Record<string, string | undefined>, nextPages: typeof pages, replace = false) => {
    void navigate({ to: '.', search: next, state: { pages: nextPages }, replace, resetScroll: false })
  }
  const kept = () => Object.fromEntries(keep.map((key) => [key, search[key]]))

  return {
    search,
    offset: pages.reduce((sum, page) => sum + page.size, 0),
    set: (patch) => go({ ...search, cursor: undefined, ...patch }, [], 'q' in patch),
    setSort: (sort) => go({ ...search, cursor: undefined, sort }, []),
    clear: () => go({ ...kept(), sort: search.sort }, []),
    next: (cursor, size) => go({ ...search, cursor }, [...pages, { cursor: search.cursor ?? '', size }]),
    back: () => {
      const before = pages.at(-1)
      go({ ...search, cursor: before?.cursor === '' ? undefined : before?.cursor }, pages.slice(0, -1))
    },
  }
}
