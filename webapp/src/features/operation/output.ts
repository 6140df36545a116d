import type { OutputChunk } from '@/api/types'

// The output of a step as it is shown: whole lines, without what steers a terminal.
export const maxLines = 5000

const ansi = new RegExp(String.raw`\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007]*\u0007|[@-Z\\-_])`, 'g')

export function plainText(text: string): string {
  return text
    .replace(ansi, '')
    .replaceAll('\r\n', '\n')
    .split('\n')
    // A carriage return overwrites the line, as progress bars do.
    .map((line) => line.slice(line.lastIndexOf('\r') + 1))
    .join('\n')
}

// appendChunks adds what is new; chunks may come twice when two reads overlap.
export function appendChunks(known: readonly OutputChunk[], fresh: readonly OutputChunk[]): OutputChunk[] {
  const seen = new Set(known.map((chunk) => `${chunk.step}/${chunk.run}/${chunk.offset}`))
  return [...known, ...fresh.filter((chunk) => !seen.has(`${chunk.step}/${chunk.run}/${chunk.offset}`))]
}

export interface RunOutput {
  run: number
  lines: string[]
  // How many lines at the beginning are not shown.
  cut: number
}

export function runsOf(chunks: readonly OutputChunk[]): RunOutput[] {
  const texts = new Map<number, OutputChunk[]>()
  for (const chunk of chunks) texts.set(chunk.run, [...(texts.get(chunk.run) ?? []), chunk])
  return [...texts.entries()]
    .sort(([a], [b]) => a - b)
    .map(([run, parts]) => {
      const text = plainText(
        parts
          .sort((a, b) => a.offset - b.offset)
          .map((part) => part.text)
          .join(''),
      )
      const lines = text.replace(/\n$/, '').split('\n')
      const cut = Math.max(0, lines.length - maxLines)
      return { run, lines: lines.slice(cut), cut }
    })
}
