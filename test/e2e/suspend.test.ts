import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { printFigure } from '../builders/figure.ts'
import { ask, createTenant, eventually, kill, kubectl, replicas, up } from './platform.ts'

type Answer = { at: number; until: number; status: number; type: unknown }

/** Asks one replica over and over, a read and a write in turn, and keeps what each answer said, when its request began and when it came. */
function watchAnswers(base: string, key: string): { answers: Answer[]; stop: () => Promise<void> } {
  const answers: Answer[] = []
  let running = true
  const loop = (async () => {
    for (let turn = 0; running; turn += 1) {
      const at = Date.now()
      const reply = await ask(base, key, turn % 2 === 0 ? 'GET' : 'POST', '/v1/tasks', turn % 2 === 0 ? undefined : { title: `${turn}` })
      answers.push({ at, until: Date.now(), status: reply.status, type: reply.body.type })
      await pause(5)
    }
  })()
  return {
    answers,
    stop: async () => {
      running = false
      await loop
    },
  }
}

const patch = (name: string, spec: object) => kubectl(['patch', 'tenant', name, '--type=merge', '-p', JSON.stringify({ spec })])
const isServed = ({ status }: Answer) => status === 200 || status === 201

test('TI-08: a tenant that is suspended under traffic is refused within a second by every replica, and resumed as fast', async () => {
  const key = await createTenant('paused', 'shard-a')
  const streams = replicas.map((base) => watchAnswers(base, key))
  await eventually(() => {
    for (const { answers } of streams) expect(answers.filter(isServed).length).toBeGreaterThan(20)
  })
  const suspended = await timed(() => patch('paused', { suspended: true }))
  await pause(3_000)
  const resumed = await timed(() => patch('paused', { suspended: false }))
  await kubectl(['wait', '--for=condition=Ready', 'tenant/paused', '--timeout=30s'])
  const ready = Date.now()
  await pause(1_500)
  await Promise.all(streams.map(({ stop }) => stop()))

  const all = streams.flatMap(({ answers }) => answers)
  expect(all.filter((answer) => !isServed(answer)).map(({ status, type }) => `${status} ${type}`)).toEqual(
    all.filter(({ status }) => status === 403).map(() => '403 /docs/problems/tenant-suspended'),
  )
  // A refusal is given after a look at the routing config: a request of before the resume may be served by it.
  const lastServed = Math.max(...all.filter((one) => isServed(one) && one.until < resumed.asked).map(({ at }) => at))
  const lastRefused = Math.max(...all.filter((one) => !isServed(one)).map(({ at }) => at))
  for (const { answers } of streams) expect(answers.some(({ status }) => status === 403)).toBe(true)
  expect(all.filter((one) => one.at > ready && !isServed(one))).toEqual([])
  const figures = [lastServed - suspended.asked, lastRefused - resumed.asked].map((ms) => (Math.max(ms, 0) / 1_000).toFixed(2))
  printFigure(
    `TI-08: the last request served ${figures[0]} s after suspending was asked for, the last refused ${figures[1]} s after resuming, kubectl included`,
  )
  expect(lastServed - suspended.done).toBeLessThan(1_000)
  expect(lastRefused - resumed.done).toBeLessThan(1_000)
})

test('TI-08: a subscription ends at its time on every replica, with no operator to say so', async () => {
  const end = Date.now() + 15_000
  const key = await createTenant('trial', 'shard-b', { subscriptionEndsAt: new Date(end).toISOString() })
  await kill('operator')
  const streams = replicas.map((base) => watchAnswers(base, key))
  await pause(end + 1_000 - Date.now())
  await Promise.all(streams.map(({ stop }) => stop()))
  const all = streams.flatMap(({ answers }) => answers)
  expect(all.filter((one) => one.at < end - 50 && !isServed(one))).toEqual([])
  expect(all.filter((one) => one.at > end && isServed(one))).toEqual([])
  for (const { answers } of streams) expect(answers.at(-1)?.status).toBe(403)
  await up()
  await eventually(async () => expect(await kubectl(['get', 'tenant', 'trial', '-o', 'jsonpath={.status.phase}'])).toBe('Suspended'))
})

/** When kubectl was called and when it had ended; the change itself comes between the two. */
async function timed(task: () => Promise<unknown>): Promise<{ asked: number; done: number }> {
  const asked = Date.now()
  await task()
  return { asked, done: Date.now() }
}
