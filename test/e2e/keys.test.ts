import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { printFigure } from '../builders/figure.ts'
import { createProvider } from '../builders/provider.ts'
import { ask, createTenant, eventually, kill, kubectl, replicas, token, up } from './platform.ts'

type Answer = { at: number; status: number }

/** Asks every replica over and over with one key; `at` is when a request began. */
function watchKey(key: string): { answers: Answer[][]; stop: () => Promise<unknown> } {
  let running = true
  const answers: Answer[][] = replicas.map(() => [])
  const loops = replicas.map(async (base, index) => {
    while (running) {
      const at = Date.now()
      const { status } = await ask(base, key, 'GET', '/v1/tasks')
      answers[index]?.push({ at, status })
      await pause(5)
    }
  })
  return {
    answers,
    stop: () => {
      running = false
      return Promise.all(loops)
    },
  }
}

const patch = (name: string, spec: object) => kubectl(['patch', 'tenant', name, '--type=merge', '-p', JSON.stringify({ spec })])
const lastServed = (answers: Answer[][]) => Math.max(...answers.flat().flatMap(({ at, status }) => (status === 200 ? [at] : [])))

test('TI-05: a key that is taken out of the spec under traffic is refused by every replica within a second; the others go on', async () => {
  await createTenant('locks', 'shard-a', { apiKeys: [{ name: 'main' }, { name: 'lost' }] })
  const [kept, lost] = await Promise.all([token('locks', 'main'), token('locks', 'lost')])
  expect([kept, lost]).toEqual([expect.stringMatching(/^tnt_/), expect.stringMatching(/^tnt_/)])
  const watched = [watchKey(kept), watchKey(lost)]
  await eventually(() => {
    for (const { answers } of watched) for (const one of answers) expect(one.length).toBeGreaterThan(20)
  })
  await patch('locks', { apiKeys: [{ name: 'main' }] })
  const done = Date.now()
  await pause(2_000)
  await Promise.all(watched.map(({ stop }) => stop()))
  const [others = [], ended = []] = watched.map(({ answers }) => answers)
  expect(new Set(others.flat().map(({ status }) => status))).toEqual(new Set([200]))
  expect(new Set(ended.flat().map(({ status }) => status))).toEqual(new Set([200, 401]))
  for (const one of ended) expect(one.at(-1)?.status).toBe(401)
  const late = lastServed(ended) - done
  printFigure(`TI-05: the last request with a revoked key was served ${Math.max(late, 0)} ms after kubectl was done`)
  expect(late).toBeLessThan(1_000)
})

test('TI-05: a key ends at its time on every replica, with no operator to say so, and is let in again by a later time', async () => {
  const end = Date.now() + 15_000
  const until = (ms: number) => ({ apiKeys: [{ name: 'main', expiresAt: new Date(ms).toISOString(), scopes: ['tasks:read'] }] })
  const key = await createTenant('guests', 'shard-b', until(end))
  await kill('operator')
  const watched = watchKey(key)
  await pause(end + 1_000 - Date.now())
  await watched.stop()
  const all = watched.answers.flat()
  expect(all.filter(({ at, status }) => at > end && status === 200)).toEqual([])
  for (const answers of watched.answers) expect([answers[0]?.status, answers.at(-1)?.status]).toEqual([200, 401])
  printFigure(`TI-05: the last request with a key that ended began ${end - lastServed(watched.answers)} ms before its end`)
  await up()
  await patch('guests', until(end + 3_600_000))
  await eventually(async () => {
    for (const base of replicas) expect((await ask(base, key, 'GET', '/v1/tasks')).status).toBe(200)
  })
  const refused = await ask(replicas[0], key, 'POST', '/v1/tasks', { title: 'x' })
  expect([refused.status, JSON.stringify(refused.body)]).toEqual([403, expect.stringContaining('tasks:write')])
})

test('TI-04: tokens of a provider are taken by every replica as soon as the Tenant is Ready, and refused when it is taken out', async () => {
  const provider = await createProvider('badge')
  const { algorithms: _, ...pinned } = provider.issuer
  await createTenant('badge', 'shard-a', { jwt: pinned })
  const bearer = `Bearer ${await provider.sign(provider.claims('badge'))}`
  const statuses = () =>
    Promise.all(replicas.map(async (base) => (await fetch(new URL('/v1/tasks', base), { headers: { authorization: bearer } })).status))
  expect(await statuses()).toEqual([200, 200])
  await patch('badge', { jwt: null })
  const done = Date.now()
  await eventually(async () => expect(await statuses()).toEqual([401, 401]), 5)
  const late = Date.now() - done
  printFigure(`TI-04: tokens were refused by all replicas ${late} ms after kubectl had taken their provider out`)
  // A refusal comes after a look at the routing config, for which it may wait a second.
  expect(late).toBeLessThan(2_000)
})
