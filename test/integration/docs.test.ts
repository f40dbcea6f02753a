import { hash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ERRORS } from '../../runtime/errors.ts'
import { html } from '../../runtime/http/docs/markup.ts'
import { printFigure } from '../builders/figure.ts'
import { read } from '../builders/http.ts'
import { createWorld, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

let world: World
let runtime: RunningRuntime

beforeAll(async () => {
  world = await createWorld()
  runtime = await startRuntime(world)
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

const get = (path: string, headers: Record<string, string> = {}) => fetch(new URL(path, runtime.url), { headers })

/** Every page that can be come to from /docs, by its path. */
async function crawl(): Promise<Map<string, string>> {
  const pages = new Map<string, string>()
  const waiting = ['/docs']
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (pages.has(path)) continue
    const answer = await get(path)
    expect([path, answer.status]).toEqual([path, 200])
    pages.set(path, await answer.text())
    waiting.push(...linksOf(pages.get(path) ?? '').map((link) => link.split('#')[0] || path))
  }
  return pages
}

function linksOf(page: string): string[] {
  return [...page.matchAll(/href="([^"]*)"/g)].map(([, link = '']) => link)
}

test('every link leads somewhere, every place it names is there, and every problem has a page', async () => {
  const pages = await crawl()
  for (const [path, page] of pages) {
    for (const link of linksOf(page)) {
      const [target, place] = link.split('#')
      const there = pages.get(target || path) ?? ''
      expect([link, place === undefined || there.includes(`id="${place}"`)]).toEqual([link, true])
    }
  }
  expect([...pages.keys()].sort()).toEqual(
    ['/docs', '/openapi.json', ...Object.keys(ERRORS).map((code) => `/docs/problems/${code}`)].sort(),
  )
  const kib = (path: string) => `${Math.round((pages.get(path)?.length ?? 0) / 1024)} KiB`
  printFigure(`docs: ${pages.size} pages, /docs is ${kib('/docs')}, /openapi.json ${kib('/openapi.json')}`)
})

test('the page tells of every operation, parameter, status and shape of the document', async () => {
  const page = await (await get('/docs')).text()
  const { paths, components } = await read(await get('/openapi.json'))
  for (const methods of Object.values<object>(paths)) {
    for (const operation of Object.values(methods)) {
      const section = page.slice(page.indexOf(`<section id="${operation.operationId}"`)).split('</section>')[0]
      const parameters = operation.parameters.flatMap(({ name }: { name?: string }) => name ?? [])
      const body = Object.keys(operation.requestBody?.content['application/json'].schema.properties ?? {})
      for (const text of [html`${operation.summary}`.markup, ...parameters, ...body, ...Object.keys(operation.responses)])
        expect(section).toContain(text)
    }
  }
  for (const name of Object.keys(components.schemas)) expect(page).toContain(`id="shape-${name}"`)
})

test('HT-09: a page loads nothing but the style that stands in it, runs no script, and its policy says so', async () => {
  for (const path of ['/docs', '/docs/problems/not-found']) {
    const answer = await get(path)
    const page = await answer.text()
    const style = /<style>([\s\S]*?)<\/style>/.exec(page)?.[1] ?? ''
    expect(answer.headers.get('content-security-policy')).toBe(
      `default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-${hash('sha256', style, 'base64')}'`,
    )
    expect(page).not.toMatch(/<script|<link|<img|<iframe|<object|<form|style="|\son\w+="|javascript:|url\(|@import|https?:\/\//)
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
  }
})

test('a page is sent once, and no page is made up', async () => {
  const etag = (await get('/docs')).headers.get('etag') ?? ''
  expect((await get('/docs', { 'if-none-match': etag })).status).toBe(304)
  for (const path of ['/docs/problems/nothing', '/docs/problems/__proto__', '/docs/problems/%3Cscript%3E', '/docs/']) {
    expect([path, (await get(path)).status]).toEqual([path, 404])
  }
})

test("a problem's type leads to its page", async () => {
  const { type, title } = await read(await get('/v1/tasks'))
  expect(await (await get(type)).text()).toContain(`<h1>${title}</h1>`)
})
