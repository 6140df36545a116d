// What the browser tests share: a Chromium, a signed-in page, and the API as the page sees it.
// PGDROVER_URL, PGDROVER_LOGIN and PGDROVER_PASSWORD say which manager they talk to; PGDROVER_SHOTS is a folder for
// screenshots, where somebody wants to look at the pages.
import { accessSync, constants, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, join } from 'node:path'

// The packages are the web app's: the tests have none of their own.
const require = createRequire(new URL('../../webapp/package.json', import.meta.url))
const { chromium } = require('playwright-core')
export const { AxeBuilder } = require('@axe-core/playwright')

export const base = (process.env.PGDROVER_URL ?? 'http://localhost:8080').replace(/\/$/, '')
export const login = process.env.PGDROVER_LOGIN ?? 'admin'
export const password = process.env.PGDROVER_PASSWORD ?? ''
const shots = process.env.PGDROVER_SHOTS

// A name that no run before has used.
export const unique = (word) => `${word}-${Date.now().toString(36)}`

function chromiumPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']) {
      const path = join(folder, name)
      try {
        accessSync(path, constants.X_OK)
        return path
      } catch {
        // The next one, then.
      }
    }
  }
  throw new Error('There is no Chromium on PATH; name one with CHROMIUM.')
}

// Chromium's sandbox refuses to work for root, as whom containers often run.
export function launch() {
  return chromium.launch({ executablePath: chromiumPath(), args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] })
}

// newPage opens a page that remembers what went wrong in it.
export async function newPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  page.wrong = []
  page.on('pageerror', (error) => page.wrong.push(`error: ${error.message}`))
  page.on('console', (message) => {
    // Answers that say no are part of what is tested; the browser logs them as errors.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) page.wrong.push(`console: ${message.text()}`)
  })
  return page
}

export async function signIn(page) {
  await page.goto(`${base}/sign-in`)
  await page.getByLabel('Login').fill(login)
  await page.getByLabel('Password', { exact: true }).fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
}

// read asks the API with the page's own session.
export async function read(page, path) {
  return page.evaluate(async (url) => {
    const response = await fetch(url)
    if (!response.ok) throw new Error(`${url}: ${response.status}`)
    return response.json()
  }, `/api/v1${path}`)
}

// until repeats a question until its answer is yes; it is for what no page shows.
export async function until(what, ask, seconds = 60) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > end) throw new Error(`waited ${seconds} s for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

export async function shot(page, name, options = {}) {
  if (!shots) return
  mkdirSync(shots, { recursive: true })
  await page.screenshot({ path: join(shots, `${name}.png`), ...options })
}

// onlineHost is a host with server programs whose agent is there.
export async function onlineHost(page) {
  const host = await until('a host that is online with PostgreSQL installed', async () => {
    for (const { id } of (await read(page, '/hosts?online=true')).items) {
      const host = await read(page, `/hosts/${id}`)
      if (host.facts?.binaries.length > 0) return host
    }
    return undefined
  })
  return host
}

// createInstance goes the whole way of the form: plan first, then the operation to its end.
export async function createInstance(page, name, onPlan = async () => {}) {
  const host = await onlineHost(page)
  await page.goto(`${base}/instances/new`)
  await page.getByRole('combobox', { name: 'Host' }).or(page.getByLabel('Host *')).first().click()
  await page.getByRole('option', { name: host.name }).click()
  await page.getByLabel(/^Name/).fill(name)
  await page.getByLabel(/^Password/).first().fill('Browser-Test-1')
  await page.getByRole('button', { name: 'Review the plan' }).click()
  await page.getByText('Initialise the cluster').waitFor()
  await onPlan()
  await page.getByRole('button', { name: 'Create instance' }).click()
  await page.getByRole('heading', { name: 'Steps' }).waitFor()
}
