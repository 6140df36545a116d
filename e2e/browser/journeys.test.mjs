// What people do, from beginning to end, in a browser on a real manager with a real agent.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { base, createInstance, launch, login, newPage, password, read, shot, signIn, unique, until } from './browser.mjs'

let browser
before(async () => {
  browser = await launch()
})
after(() => browser?.close())

describe('signing in', () => {
  it('says what is wrong and keeps the login', async () => {
    const page = await newPage(browser)
    await page.goto(`${base}/sign-in`)
    await page.getByLabel('Login').fill(login)
    await page.getByLabel('Password', { exact: true }).fill('certainly not')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('alert').waitFor()
    assert.equal(await page.getByLabel('Login').inputValue(), login)
    assert.deepEqual(page.wrong, [])
  })

  it('comes back to the page that was wanted', async () => {
    const page = await newPage(browser)
    await page.goto(`${base}/operations?state=failed`)
    await page.waitForURL(/\/sign-in\?to=/)
    await page.getByLabel('Login').fill(login)
    await page.getByLabel('Password', { exact: true }).fill(password)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Operations', level: 1 }).waitFor()
    assert.match(page.url(), /\/operations\?state=failed$/)
  })

  it('works by keyboard alone, and so do the palette and a menu', async () => {
    const page = await newPage(browser)
    await page.goto(`${base}/sign-in`)
    // The login has the focus from the beginning.
    await page.waitForFunction(() => document.activeElement?.getAttribute('name') === 'login')
    await page.keyboard.type(login)
    await page.keyboard.press('Tab')
    await page.keyboard.type(password)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()

    await page.keyboard.press('Control+k')
    await page.getByRole('dialog', { name: 'Search or run' }).waitFor()
    await page.keyboard.type('schedul')
    await page.getByRole('dialog').getByText('Schedules', { exact: true }).waitFor()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Schedules', level: 1 }).waitFor()

    // A new page takes the focus; before it comes the way to the content.
    await page.keyboard.press('Shift+Tab')
    const account = page.getByRole('button', { name: /^Account of/ })
    await account.focus()
    await page.keyboard.press('Enter')
    await page.getByRole('menuitem', { name: 'Dark' }).waitFor()
    await page.keyboard.press('ArrowDown')
    const focused = await page.evaluate(() => document.activeElement?.getAttribute('role'))
    assert.equal(focused, 'menuitem')
    await page.keyboard.press('Escape')
    await page.getByRole('menuitem', { name: 'Dark' }).waitFor({ state: 'hidden' })
    assert.deepEqual(page.wrong, [])
  })

  it('ends with signing out', async () => {
    const page = await newPage(browser)
    await signIn(page)
    await page.getByRole('button', { name: /^Account of/ }).click()
    await page.getByRole('menuitem', { name: 'Sign out' }).click()
    await page.waitForURL(/\/sign-in$/)
    await page.goto(`${base}/hosts`)
    await page.waitForURL(/\/sign-in\?to=/)
  })
})

describe('the life of an instance', () => {
  const name = unique('browser')
  let page
  let id
  before(async () => {
    page = await newPage(browser)
    await signIn(page)
  })
  after(async () => {
    assert.deepEqual(page.wrong, [])
  })

  it('is created after its plan was shown, and followed to its end', async () => {
    await createInstance(page, name, async () => {
      await page.getByText('checked').first().waitFor()
      await page.getByText('would do').first().waitFor()
      await shot(page, 'journey-plan')
      // The same as a command, without the password.
      await page.getByRole('button', { name: 'As a command' }).click()
      const command = await page.getByRole('region', { name: 'the command' }).innerText()
      assert.match(command, /^pgdrover instances create/)
      assert.doesNotMatch(command, /Browser-Test-1/)
      await page.keyboard.press('Escape')
    })
    await page.getByText('Initialise the cluster').waitFor()
    await page.getByRole('log').first().waitFor()
    await shot(page, 'journey-operation')
    await page.getByText('Succeeded', { exact: true }).first().waitFor({ timeout: 120_000 })
    await page.getByRole('link', { name: 'Open the instance' }).click()
    await page.getByRole('heading', { name, level: 1 }).waitFor()
    id = new URL(page.url()).pathname.split('/').at(-1)
    await page.getByText('Running', { exact: true }).first().waitFor()
  })

  it('answers a query', async () => {
    await page.getByRole('tab', { name: 'Query' }).click()
    await page.getByLabel('SQL').fill('SELECT 1 AS one, NULL AS nothing')
    await page.keyboard.press('Control+Enter')
    await page.getByRole('heading', { name: '1 row' }).waitFor()
    const rows = page.getByRole('region', { name: 'Rows' })
    assert.deepEqual(await rows.locator('tbody td').allInnerTexts(), ['1', '1', 'NULL'])
    await shot(page, 'journey-query')

    await page.getByLabel('SQL').fill('SELECT nonsense')
    await page.getByRole('button', { name: 'Run', exact: true }).click()
    await page.getByText('The statement failed').waitFor()
    assert.equal(await page.getByLabel('SQL').inputValue(), 'SELECT nonsense')
  })

  it('is stopped and started while the person is elsewhere', async () => {
    await page.goto(`${base}/instances/${id}`)
    await page.getByRole('button', { name: 'Stop', exact: true }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Review the plan' }).click()
    await dialog.getByText('would do').first().waitFor()
    await dialog.getByRole('button', { name: 'Stop instance' }).click()
    await dialog.waitFor({ state: 'hidden' })
    // The card follows to another page and says how it ended.
    await page.getByRole('link', { name: 'Hosts', exact: true }).click()
    await page.getByRole('region', { name: 'Your operations' }).getByText('Succeeded', { exact: true }).first().waitFor({ timeout: 60_000 })
    await shot(page, 'journey-card')

    // The page of the instance shows the change without a reload.
    await page.getByRole('link', { name: 'Instances', exact: true }).click()
    await page.getByRole('link', { name, exact: true }).click()
    await page.getByText('Stopped', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    // There is nothing to fill in: the plan is there at once.
    await dialog.getByText('would do').first().waitFor()
    await dialog.getByRole('button', { name: 'Start instance' }).click()
    await page.getByText('Running', { exact: true }).first().waitFor({ timeout: 60_000 })
    await page.getByRole('button', { name: 'Restart', exact: true }).waitFor()
  })

  it('is found, labelled and filtered', async () => {
    await page.getByRole('button', { name: `More actions on ${name}` }).click()
    await page.getByRole('menuitem', { name: 'Edit name and labels' }).click()
    await page.getByRole('dialog').getByLabel('Labels').fill(`run=${name}`)
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
    await page.getByRole('dialog').waitFor({ state: 'hidden' })

    await page.goto(`${base}/instances?label=run=${name}`)
    await page.getByText('1–1 of 1').waitFor()
    await page.getByRole('button', { name: 'Clear filter Label' }).click()
    await page.getByLabel('Search instances').fill(name)
    await page.waitForURL(new RegExp(`q=${name}`))
    await page.getByText('1–1 of 1').waitFor()
    // The view can be sent to a colleague.
    await page.reload()
    await page.getByText('1–1 of 1').waitFor()
    await page.getByRole('button', { name: 'Version', exact: true }).first().waitFor()
  })

  it('is deleted only when its name was typed', async () => {
    await page.goto(`${base}/instances/${id}`)
    await page.getByRole('button', { name: `More actions on ${name}` }).click()
    await page.getByRole('menuitem', { name: 'Delete instance' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel(/^With data/).check()
    await dialog.getByRole('button', { name: 'Review the plan' }).click()
    const confirm = dialog.getByLabel(`Type ${name} to confirm`)
    await confirm.fill(name.slice(0, -1))
    const go = dialog.getByRole('button', { name: 'Delete instance' })
    assert.equal(await go.isDisabled(), true)
    await confirm.fill(name)
    await shot(page, 'journey-delete')
    await go.click()
    await until('the instance to be gone', async () => (await read(page, `/instances?q=${name}`)).items.every((instance) => instance.management !== 'managed'))
    await page.goto(`${base}/instances/${id}`)
    await page.getByRole('heading', { name: 'No such instance' }).waitFor()
  })
})

describe('hosts', () => {
  it('are added with one command, waited for and forgotten', async () => {
    const page = await newPage(browser)
    await signIn(page)
    const name = unique('host')
    await page.goto(`${base}/hosts`)
    await page.getByRole('button', { name: 'Add host' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Name').fill(name)
    await dialog.getByRole('button', { name: 'Add host' }).click()
    const command = await dialog.getByRole('region', { name: 'the command for the host' }).innerText()
    assert.match(command, /pgdrover-agent|install/)
    await dialog.getByText(`Waiting for the agent of ${name}`).waitFor()
    await shot(page, 'journey-host')
    await dialog.getByRole('button', { name: 'Close and wait later' }).click()

    // The same name again is refused, and what was typed stays.
    await page.getByRole('button', { name: 'Add host' }).click()
    await dialog.getByLabel('Name').fill(name)
    await dialog.getByRole('button', { name: 'Add host' }).click()
    await dialog.getByRole('alert').waitFor()
    assert.equal(await dialog.getByLabel('Name').inputValue(), name)
    await page.keyboard.press('Escape')

    await page.getByRole('link', { name, exact: true }).click()
    await page.getByRole('button', { name: `More actions on ${name}` }).click()
    await page.getByRole('menuitem', { name: 'Revoke the agent' }).click()
    await dialog.getByLabel(`Type ${name} to confirm`).fill(name)
    await dialog.getByRole('button', { name: 'Revoke' }).click()
    await page.getByText('Revoked', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: `More actions on ${name}` }).click()
    await page.getByRole('menuitem', { name: 'Forget the host' }).click()
    await dialog.getByLabel(`Type ${name} to confirm`).fill(name)
    await dialog.getByRole('button', { name: 'Forget' }).click()
    await page.waitForURL(/\/hosts$/)
    assert.deepEqual(page.wrong, [])
  })
})

describe('schedules', () => {
  it('are previewed, made, paused, run and deleted', async () => {
    const page = await newPage(browser)
    await signIn(page)
    const name = unique('schedule')
    const host = (await read(page, '/hosts?online=true')).items[0]
    await page.goto(`${base}/schedules/new`)
    await page.getByLabel('Name').fill(name)
    await page.getByPlaceholder('Choose what to run').click()
    await page.getByRole('option', { name: 'Run program' }).click()
    await page.getByPlaceholder('Choose a host').click()
    await page.getByRole('option', { name: host.name }).click()
    await page.getByLabel(/^Program/).fill('/usr/bin/uptime')
    await page.getByLabel('Cron rule').fill('30 4 * * 1')
    await page.getByText('That is every Monday at 04:30.').waitFor()
    await page.getByText(/Mon .* 04:30:00/).first().waitFor()
    await shot(page, 'journey-schedule')
    await page.getByRole('button', { name: 'Create schedule' }).click()
    await page.getByRole('heading', { name, level: 1 }).waitFor()
    assert.equal(await page.getByText(/^Mon /).count(), 10)

    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByText('Paused', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Resume' }).click()
    await page.getByText('Active', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Run now' }).click()
    await until('its run', async () => {
      const schedule = (await read(page, '/schedules')).items.find((each) => each.name === name)
      return schedule.last_run && schedule.last_run.state !== 'running'
    })

    await page.getByRole('button', { name: `More actions on ${name}` }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByLabel(`Type ${name} to confirm`).fill(name)
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.waitForURL(/\/schedules$/)
    assert.deepEqual(page.wrong, [])
  })
})

describe('a viewer', () => {
  it('sees no button that changes something', async () => {
    const page = await newPage(browser)
    await signIn(page)
    const id = (await read(page, '/hosts')).items[0].id
    const change = async (url, edit) => {
      await page.route(url, async (route) => {
        const response = await route.fetch()
        await route.fulfill({ response, json: edit(await response.json()) })
      })
    }
    // What the manager tells a viewer; that it refuses everything else is tested with it.
    await change('**/api/v1/me', (me) => ({ ...me, role: 'viewer', permissions: me.permissions.filter((each) => each.endsWith('.read') && each !== 'audit.read') }))
    await change('**/api/v1/operation-types', (types) => ({ ...types, items: types.items.map((each) => ({ ...each, allowed: false })) }))
    for (const path of ['/', '/instances', '/hosts', `/hosts/${id}`, '/operations', '/schedules', '/settings']) {
      await page.goto(base + path)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.waitForFunction(() => !document.querySelector('.mantine-Skeleton-root'))
      const buttons = await page.locator('main').getByRole('button').allInnerTexts()
      assert.deepEqual(buttons.filter((text) => /\b(create|add|adopt|new|delete|stop|start|run|edit|revoke|pause)\b/i.test(text)), [], path)
      assert.equal(await page.getByRole('button', { name: /^More actions/ }).count(), 0, path)
    }
    assert.equal(await page.getByRole('link', { name: 'Audit' }).count(), 0)
  })
})

describe('a strict content security policy', () => {
  it('is kept by every kind of page', async () => {
    const page = await newPage(browser)
    // Styles are set by scripts; scripts come from files of ours alone and make no code.
    const policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    await page.route(
      (url) => url.origin === base && !url.pathname.startsWith('/api/'),
      async (route) => {
        if (route.request().resourceType() !== 'document') return route.continue()
        const response = await route.fetch()
        return route.fulfill({ response, headers: { ...response.headers(), 'content-security-policy': policy } })
      },
    )
    await signIn(page)
    for (const path of ['/', '/instances/new', '/operations', '/schedules/new', '/audit', '/settings']) {
      await page.goto(base + path)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.waitForFunction(() => !document.querySelector('.mantine-Skeleton-root'))
    }
    await page.goto(`${base}/instances/new`)
    await page.getByRole('button', { name: 'Review the plan' }).click()
    await page.getByText('This is needed.').first().waitFor()
    assert.deepEqual(page.wrong, [])
  })
})

describe('a lost connection', () => {
  it('is said, and what was missed is read when it is back', async () => {
    const page = await newPage(browser)
    await signIn(page)
    await page.context().setOffline(true)
    await page.getByText('The connection to the manager is lost').waitFor()
    await page.context().setOffline(false)
    await page.getByText('The connection to the manager is lost').waitFor({ state: 'hidden' })
  })
})
