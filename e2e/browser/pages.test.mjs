// Every page, in both themes: no fault that axe finds, no error in the console.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { AxeBuilder, base, launch, newPage, read, shot, signIn } from './browser.mjs'

const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']

async function check(page) {
  const { violations } = await new AxeBuilder({ page }).withTags(rules).analyze()
  return violations.map((each) => `${each.id}: ${each.nodes.map((node) => `${node.target.join(' ')} ${node.any[0]?.message ?? ''}`).join('; ')}`)
}

// settled waits until nothing on the page is still being read.
async function settled(page) {
  await page.waitForLoadState('networkidle', { timeout: 2000 }).catch(() => undefined)
  await page.waitForFunction(() => !document.querySelector('[aria-busy="true"], .mantine-Skeleton-root'), undefined, { timeout: 10_000 })
}

// Pages of objects, where the manager has one to show.
async function places(page) {
  const first = async (path, pick = () => true) => (await read(page, path)).items.find(pick)
  const host = await first('/hosts')
  const managed = await first('/instances?management=managed')
  const discovered = await first('/instances?management=discovered')
  const operation = await first('/operations?sort=-accepted_at')
  const failed = await first('/operations?state=failed')
  const schedule = await first('/schedules')
  return Object.entries({
    overview: '/',
    instances: '/instances',
    'instances-filtered': '/instances?status=crashed&q=no-such-name',
    'instance-new': '/instances/new',
    hosts: '/hosts',
    operations: '/operations',
    schedules: '/schedules',
    'schedule-new': '/schedules/new',
    audit: '/audit',
    settings: '/settings',
    nowhere: '/nowhere',
    'no-host': '/hosts/00000000-0000-7000-8000-000000000000',
    ...(host && { host: `/hosts/${host.id}`, 'host-instances': `/hosts/${host.id}?tab=instances`, 'host-operations': `/hosts/${host.id}?tab=operations` }),
    ...(managed && { instance: `/instances/${managed.id}`, 'instance-query': `/instances/${managed.id}?tab=query`, 'instance-operations': `/instances/${managed.id}?tab=operations` }),
    ...(discovered && { discovered: `/instances/${discovered.id}` }),
    ...(operation && { operation: `/operations/${operation.id}` }),
    ...(failed && { 'operation-failed': `/operations/${failed.id}` }),
    ...(schedule && { schedule: `/schedules/${schedule.id}` }),
  })
}

for (const colorScheme of ['light', 'dark']) {
  describe(`${colorScheme} pages`, () => {
    let browser
    let page
    before(async () => {
      browser = await launch()
      // The content security policy of the page must not keep axe out of it.
      page = await newPage(browser, { colorScheme, bypassCSP: true })
    })
    after(() => browser?.close())

    it('sign-in', async () => {
      await page.goto(`${base}/sign-in`)
      await page.getByLabel('Login').waitFor()
      await shot(page, `sign-in-${colorScheme}`)
      assert.deepEqual(await check(page), [])
    })

    it('every page behind it', async (t) => {
      await signIn(page)
      for (const [name, path] of await places(page)) {
        await t.test(name, async () => {
          await page.goto(base + path)
          await page.getByRole('heading', { level: 1 }).waitFor()
          await settled(page)
          await shot(page, `${name}-${colorScheme}`, { fullPage: true })
          assert.deepEqual(await check(page), [])
        })
      }
      assert.deepEqual(page.wrong, [])
    })

    it('what opens over a page', async (t) => {
      const open = async (name, act) => {
        await t.test(name, async () => {
          await page.goto(`${base}/hosts`)
          await page.getByRole('heading', { name: 'Hosts', level: 1 }).waitFor()
          await act()
          // Fading in, colours have less contrast than they will have.
          await page.waitForTimeout(400)
          await shot(page, `${name}-${colorScheme}`)
          assert.deepEqual(await check(page), [])
        })
      }
      await open('palette', async () => {
        await page.keyboard.press('Control+k')
        await page.getByRole('dialog', { name: 'Search or run' }).waitFor()
      })
      await open('account-menu', () => page.getByRole('button', { name: /^Account of/ }).click())
      await open('notifications', () => page.getByRole('button', { name: /^Notifications/ }).click())
      await open('add-host', () => page.getByRole('button', { name: 'Add host' }).first().click())
      await open('columns', () => page.getByRole('button', { name: 'Columns, density, CSV' }).click())
      await open('run-program', async () => {
        await page.keyboard.press('Control+k')
        await page.keyboard.type('Run program')
        await page.getByRole('dialog').getByText('Run program', { exact: true }).click()
        await page.getByRole('dialog', { name: 'Run program' }).waitFor()
      })
    })

    it('a narrow window reflows', async () => {
      await page.setViewportSize({ width: 320, height: 640 })
      for (const path of ['/', '/instances', '/instances/new', '/settings']) {
        await page.goto(base + path)
        await page.getByRole('heading', { level: 1 }).waitFor()
        await settled(page)
        const wide = await page.evaluate(() => document.documentElement.scrollWidth)
        assert.ok(wide <= 320, `${path} is ${wide} wide`)
      }
      await shot(page, `narrow-${colorScheme}`)
    })
  })
}
