import react from '@vitejs/plugin-react'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// The manager that `npm run dev` and `npm run preview` talk to.
const manager = process.env.PGDROVER_URL ?? 'http://127.0.0.1:8080'

const proxy = Object.fromEntries(['/api', '/temporal', '/docs', '/openapi.json'].map((path) => [path, { target: manager }]))

export default defineConfig({
  plugins: [react()],
  resolve: {
    alias: {
      '@': fileURLToPath(new URL('./src', import.meta.url)),
      // The form library brings a Markdown renderer for descriptions; ours are sentences.
      'markdown-to-jsx/react': fileURLToPath(new URL('./src/components/form/noMarkdown.tsx', import.meta.url)),
    },
  },
  build: {
    target: 'es2022',
    // Inlined assets would need data: in the content security policy.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: { proxy },
  preview: { proxy },
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}'] },
})
