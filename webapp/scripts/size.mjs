// Measures the script of the first load, compressed as a server would send it, against the budget.
import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const budget = 300 * 1000
const dist = new URL('../dist/', import.meta.url)
const assets = new URL('assets/', dist)
const sizeOf = new Map()

function size(name) {
  if (!sizeOf.has(name)) sizeOf.set(name, gzipSync(readFileSync(new URL(name, assets))).length)
  return sizeOf.get(name)
}

// What a script imports at once, not on demand.
function importsOf(name) {
  const text = readFileSync(new URL(name, assets), 'utf8')
  return [...text.matchAll(/(?:from|import)\s*["']\.\/([\w.-]+\.js)["']/g)].map((match) => match[1])
}

function withImports(names) {
  const all = new Set()
  const visit = (name) => {
    if (all.has(name)) return
    all.add(name)
    importsOf(name).forEach(visit)
  }
  names.forEach(visit)
  return all
}

function total(names) {
  return [...names].reduce((sum, name) => sum + size(name), 0)
}

const html = readFileSync(new URL('index.html', dist), 'utf8')
const entry = withImports([...html.matchAll(/assets\/([\w.-]+\.js)/g)].map((match) => match[1]))
const first = total(entry)
console.log(`entry: ${(first / 1000).toFixed(1)} kB in ${entry.size} files`)

let worst = { name: '', bytes: first }
for (const name of readdirSync(assets).filter((each) => each.endsWith('.js') && !entry.has(each))) {
  const page = withImports([...entry, name])
  const bytes = total(page)
  if (/Page-/.test(name)) console.log(`  first load with ${name.replace(/-[\w-]{8}\.js$/, '')}: ${(bytes / 1000).toFixed(1)} kB`)
  if (/^OverviewPage-/.test(name)) worst = { name, bytes }
}
const styles = readdirSync(assets).filter((each) => each.endsWith('.css'))
console.log(`styles: ${(total(styles) / 1000).toFixed(1)} kB in all`)
if (worst.bytes > budget) {
  console.error(`The first load of the overview is ${worst.bytes} bytes, over the budget of ${budget}.`)
  process.exit(1)
}
console.log(`first load of the overview: ${(worst.bytes / 1000).toFixed(1)} kB of ${budget / 1000} kB`)
