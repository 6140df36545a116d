import type { ReactNode } from 'react'

// Stands for the Markdown renderer that the form library imports (see vite.config.ts): text is shown as it is.
export function Markdown({ children }: { children?: ReactNode }) {
  return <>{children}</>
}
