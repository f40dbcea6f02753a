import { beforeAll, expect, test } from 'vitest'
import { apply, ask, createTenant, down, eventually, kill, kubectl, replicas, tenantYaml, token, up } from './platform.ts'
import { type Seen, startTraffic } from './traffic.ts'

type Victim = { part: string; hurts: (base: string, shard: string) => boolean }

/** Who may notice that a part is dead: nobody but those who stand on it. */
const victims: Victim[] = [
  { part: 'operator', hurts: () => false },
  { part: 'redis', hurts: () => false },
  { part: 'nats', hurts: () => false },
  { part: 'runtime-b', hurts: (base) => base === replicas[1] },
  { part: 'runtime-a', hurts: (base) => base === replicas[0] },
  { part: 'shard-a', hurts: (_, shard) => shard === 'shard-a' },
  { part: 'shard-b', hurts: (_, shard) => shard === 'shard-b' },
]

const tenants: { shard: string; key: string; written: string[] }[] = []

beforeAll(async () => {
  for (const shard of ['shard-a', 'shard-b']) tenants.push({ shard, key: await createTenant(`steady-${shard}`, shard), written: [] })
})

test.each(victims)(
  'kill -9 of $part under traffic: who does not stand on it does not notice, and nothing acknowledged is lost',
  async ({ part, hurts }) => {
    const streams = tenants.flatMap((tenant) => replicas.map((base) => ({ tenant, base, ...startTraffic(base, tenant.key, part) })))
    const everyoneWrote = (more: number) => {
      const before = streams.map(({ seen }) => seen.acknowledged.length)
      return eventually(() => {
        for (const [index, { seen }] of streams.entries()) expect(seen.acknowledged.length).toBeGreaterThan((before[index] ?? 0) + more)
      })
    }
    await everyoneWrote(5)
    await kill(part)
    const spared = streams.filter(({ base, tenant }) => !hurts(base, tenant.shard))
    const atKill = spared.map(({ seen }) => seen.acknowledged.length)
    await eventually(() => {
      for (const [index, { seen }] of spared.entries()) expect(seen.acknowledged.length).toBeGreaterThan((atKill[index] ?? 0) + 20)
    })
    await up()
    await everyoneWrote(5)
    for (const { tenant, stop } of streams) tenant.written.push(...(await stop()).acknowledged)

    expect(spared.flatMap(({ seen }) => seen.refused)).toEqual([])
    report(
      part,
      streams.map(({ seen }) => seen),
    )
    for (const tenant of tenants) await everythingIsThere(tenant)
  },
)

test('the operator works on after its death: a Tenant applied while it was away becomes Ready', async () => {
  await kill('operator')
  await apply(tenantYaml('orphan', { apiKeys: [{ name: 'main' }] }))
  await up()
  await kubectl(['wait', '--for=condition=Ready', 'tenant/orphan', '--timeout=60s'])
  expect((await ask(replicas[0], await token('orphan', 'main'), 'GET', '/v1/tasks')).status).toBe(200)
})

test('make down keeps the data, and the next make up serves it', async () => {
  await down()
  await up()
  for (const tenant of tenants) await everythingIsThere(tenant)
})

/** Every acknowledged task can be read, on both replicas, and the events have reached the statistics, exactly once. */
async function everythingIsThere({ key, written }: { key: string; written: readonly string[] }): Promise<void> {
  for (const [index, id] of written.entries()) {
    const reply = await ask(replicas[index % 2] ?? replicas[0], key, 'GET', `/v1/tasks/${id}`)
    expect(reply.status, id).toBe(200)
  }
  const stored = await count(key)
  expect(stored).toBeGreaterThanOrEqual(written.length)
  for (const base of replicas)
    await eventually(async () =>
      expect((await ask(base, key, 'GET', '/v1/tasks/statistics')).body).toMatchObject({ total: stored, pending: stored }),
    )
}

/** How many tasks the tenant has, page by page. A write whose answer was lost with a dead process may be among them. */
async function count(key: string): Promise<number> {
  let total = 0
  let cursor = ''
  do {
    const { body } = await ask(
      replicas[0],
      key,
      'GET',
      `/v1/tasks?limit=100${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    )
    total += (body.items as unknown[]).length
    cursor = typeof body.nextCursor === 'string' ? body.nextCursor : ''
  } while (cursor !== '')
  return total
}

function report(part: string, all: readonly Seen[]): void {
  const sum = (of: (seen: Seen) => number) => all.reduce((total, seen) => total + of(seen), 0)
  const slowest = Math.round(Math.max(...all.map((seen) => seen.slowest)))
  process.stdout.write(
    `kill -9 ${part}: ${sum((s) => s.acknowledged.length)} acknowledged, ${sum((s) => s.refused.length)} refused, slowest ${slowest} ms\n`,
  )
}
