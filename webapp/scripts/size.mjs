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

let over = 0
for (const name of readdirSync(assets).filter((each) => /Page-[\w-]{8}\.js$/.test(each))) {
  const bytes = total(withImports([...entry, name]))
  if (bytes > budget) over += 1
  console.log(`  with ${name.replace(/-[\w-]{8}\.js$/, '')}: ${(bytes / 1000).toFixed(1)} kB${bytes > budget ? ', over the budget' : ''}`)
}
const later = readdirSync(assets).filter((each) => /^(DerivedForm|OperationDialog)-/.test(each))
for (const name of later) console.log(`on demand: ${name.replace(/-[\w-]{8}\.js$/, '')}: ${(size(name) / 1000).toFixed(1)} kB`)
const styles = readdirSync(assets).filter((each) => each.endsWith('.css'))
console.log(`styles: ${(total(styles) / 1000).toFixed(1)} kB in all`)
if (over > 0) {
  console.error(`The first load of ${over} pages is over the budget of ${budget / 1000} kB.`)
  process.exit(1)
}
