import { Progress as Bar, Text } from '@mantine/core'
import type { Progress } from '@/api/types'
import { describeProgress, useRate } from './progress'

export function StepProgress({ progress, title }: { progress: Progress; title: string }) {
  const rate = useRate(progress)
  const percent = progress.total > 0 ? Math.min(100, (progress.done / progress.total) * 100) : undefined
  return (
    <div>
      {percent !== undefined && (
        <Bar.Root size="sm" radius="xl" mb={4}>
          <Bar.Section value={percent} aria-label={`Progress of ${title}`} />
        </Bar.Root>
      )}
      <Text size="xs" c="dimmed" className="num">
        {percent === undefined ? '' : `${percent.toFixed(percent < 10 ? 1 : 0)} % · `}
        {describeProgress(progress, rate)}
      </Text>
    </div>
  )
}
