import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startChromium } from '../builders/chromium.ts'
import { contractOf } from '../builders/conformance.ts'
import { printFigure } from '../builders/figure.ts'
import { read } from '../builders/http.ts'
import { offeredBy } from '../builders/offered.ts'
import { createWorld, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

let world: World
let runtime: RunningRuntime
let browser: Browser | undefined
let reason: unknown

beforeAll(async () => {
  world = await createWorld()
  runtime = await startRuntime(world)
  browser = await startChromium().catch((error: unknown) => {
    reason = error
    return undefined
  })
})

afterAll(async () => {
  await browser?.close()
  await runtime?.stop()
  await world?.remove()
})

/** What a browser holds against a page: what it refused, what it complained of, and whom it asked besides the API. */
type Looked = { page: Page; faults: string[]; requests: string[] }

/** Opens a page of the docs in a window of that width, and hands it to `look`; without a browser it says so loudly and does nothing. */
async function open(path: string, width: number, look: (looked: Looked) => Promise<void>): Promise<void> {
  if (browser === undefined) return printFigure(`docs in a browser: NOT RUN, since Chromium cannot be had here: ${reason}`)
  const page = await browser.newPage({ viewport: { width, height: 800 } })
  const [faults, requests]: string[][] = [[], []]
  page.on('console', (message) => faults?.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => faults?.push(error.message))
  page.on('request', (request) => requests?.push(request.url()))
  await page.exposeFunction('violated', (directive: string) => faults?.push(`violates ${directive}`))
  await page.addInitScript("addEventListener('securitypolicyviolation', ({ violatedDirective }) => violated(violatedDirective))")
  try {
    await page.goto(`${runtime.url}${path}`)
    await look({ page, faults: faults ?? [], requests: requests ?? [] })
  } finally {
    await page.close()
  }
}

test('HT-09: in a browser /docs loads itself alone, in its style, and nothing is violated or complained of', async () => {
  await open('/docs', 1_280, async ({ page, faults, requests }) => {
    expect(await page.title()).toContain('Tenantry')
    expect(await page.locator('h1').count()).toBe(1)
    expect(await page.evaluate("getComputedStyle(document.querySelector('nav')).position")).toBe('sticky')
    const operations = offered()
    for (const { id, method, template } of operations) {
      expect([id, await page.locator(`section#${id} h3`).textContent()]).toEqual([id, method + template])
    }
    const { id } = operations.at(-1) ?? expect.unreachable()
    await page.locator(`nav a[href="/docs#${id}"]`).click()
    expect(new URL(page.url()).hash).toBe(`#${id}`)
    await expect
      .poll(() => page.evaluate(`Math.abs(document.getElementById('${id}').getBoundingClientRect().top) < innerHeight`))
      .toBe(true)
    expect(faults).toEqual([])
    expect(requests).toEqual([`${runtime.url}/docs`])
    printFigure(`docs in a browser: Chromium ${browser?.version()}, ${operations.length} operations, 1 request, nothing violated`)

    // That nothing was heard means something: what the policy forbids is heard of.
    await page.evaluate("document.body.append(Object.assign(new Image(), { src: '/image' }))")
    await expect.poll(() => faults).toContain('violates img-src')
  })
})

test("a problem's type opens its page, and each place that may meet it leads back", async () => {
  const { type, title } = await read(await fetch(`${runtime.url}/v1/tasks`))
  await open(type, 1_280, async ({ page, faults, requests }) => {
    expect(await page.locator('h1').allTextContents()).toEqual([title])
    await page.locator('main a', { hasText: '/v1/tasks' }).first().click()
    await page.waitForURL('**/docs#*')
    await page.locator('summary').first().click()
    await page.locator('details a').first().click()
    await page.waitForURL('**/docs/problems/*')
    expect(faults).toEqual([])
    expect(new Set(requests.map((url) => new URL(url).origin))).toEqual(new Set([runtime.url]))
  })
})

/** Of what is wider than its place: role, tabindex and label; run in the page. */
const WIDER = `[...document.querySelectorAll('main *')]
  .filter((one) => one.scrollWidth > one.clientWidth && getComputedStyle(one).overflowX === 'auto')
  .map((one) => ['role', 'tabindex', 'aria-label'].map((name) => one.getAttribute(name)))`

test('in a narrow window what is wider is scrolled in its own place, by keyboard too, and has a name', async () => {
  await open('/docs', 360, async ({ page, faults }) => {
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0)
    for (const summary of await page.locator('summary').all()) await summary.click()
    const wider = await page.evaluate<(string | null)[][]>(WIDER)
    expect(wider.length).toBeGreaterThan(20)
    for (const [role, tabindex, label] of wider) expect([label, role, tabindex]).toEqual([expect.any(String), 'region', '0'])
    const labels = await page.locator('[role=region]').evaluateAll((regions) => regions.map((one) => one.getAttribute('aria-label')))
    expect(labels.length).toBe(new Set(labels).size)

    expect(await page.evaluate(GO_TO_WIDER)).toBe(0)
    await page.keyboard.press('Tab')
    expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid')
    await page.keyboard.press('ArrowRight')
    await expect.poll(() => page.evaluate('document.activeElement.scrollLeft')).toBeGreaterThan(0)
    expect(faults).toEqual([])
    printFigure(`docs in a browser: ${wider.length} tables and examples are wider than a window of 360 pixels, and scrolled in their place`)
  })
})

/** Goes to the place just before the first table that is wider than its place; gives how far that is scrolled. */
const GO_TO_WIDER = `(() => {
  const first = [...document.querySelectorAll('.wide')].find((one) => one.scrollWidth > one.clientWidth)
  first.previousElementSibling.tabIndex = -1
  first.previousElementSibling.focus()
  return first.scrollLeft
})()`

function offered() {
  const contract = contractOf(runtime.url)
  if (contract === undefined) throw new Error('the runtime has no document')
  return offeredBy(contract)
}
