import { notifications } from '@mantine/notifications'
import { IconAlertCircle, IconCheck } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import { problemOf } from '@/api/problem'

export function reportProblem(title: string, error: unknown): void {
  const problem = problemOf(error)
  notifications.show({
    color: 'red',
    title,
    icon: <IconAlertCircle size={18} />,
    message: `${problem.message} (${problem.code})`,
    autoClose: 10_000,
  })
}

export function reportDone(title: string, message: ReactNode = ''): void {
  notifications.show({ color: 'green', title, icon: <IconCheck size={18} />, message })
}
