import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { TenantryError } from '../../runtime/errors.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { ask, command, openReplicas, type Replicas } from '../builders/runtime.ts'

let database: TestDatabase
let replicas: Replicas

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  replicas = openReplicas(database)
})

afterAll(async () => {
  await replicas?.close()
  await database.drop()
})

const keyed = (index: number) => (tenant: TenantContext, name: string, raw: object, idempotencyKey: string) =>
  command(replicas.bus(index), tenant, name, raw, { idempotencyKey })
const [first, second] = [keyed(0), keyed(1)]

async function titles(tenant: TenantContext): Promise<string[]> {
  const answer = await ask(replicas.session(), tenant, 'ListTasks', { limit: '100' })
  return JSON.parse(answer?.body ?? '{}').items.map(({ title }: { title: string }) => title)
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    ({ code }: TenantryError) => code,
  )

describe.for(ISOLATIONS)('HT-04: a command with an Idempotency-Key, isolation %s', (isolation) => {
  test('takes effect once, and every retry gets the same answer, on every replica and after later changes', async () => {
    const tenant = await database.tenant('acme', isolation)
    const made = await first(tenant, 'CreateTask', { title: 'once' }, 'k1')
    await first(tenant, 'UpdateTask', { id: made.id, title: 'changed' }, 'k2')
    for (const replica of [first, second]) {
      expect(await replica(tenant, 'CreateTask', { title: 'once' }, 'k1')).toEqual({ ...made, replayed: true })
    }
    expect(await titles(tenant)).toEqual(['changed'])

    const removed = await second(tenant, 'DeleteTask', { id: made.id }, 'k3')
    expect(await first(tenant, 'DeleteTask', { id: made.id }, 'k3')).toEqual({ ...removed, replayed: true })
  })

  test('is refused for another body, and tells callers and tenants apart', async () => {
    const [tenant, other] = [await database.tenant('acme', isolation), await database.tenant('globex', isolation)]
    await first(tenant, 'CreateTask', { title: 'mine' }, 'shared')
    expect(await codeOf(second(tenant, 'CreateTask', { title: 'something else' }, 'shared'))).toBe('idempotency-mismatch')
    expect(await codeOf(second(tenant, 'RegisterUser', { email: 'a@example.com', displayName: 'A' }, 'shared'))).toBe(
      'idempotency-mismatch',
    )
    expect((await second({ ...tenant, caller: 'key:other' }, 'CreateTask', { title: 'another caller' }, 'shared')).replayed).toBeUndefined()
    expect((await second(other, 'CreateTask', { title: 'mine' }, 'shared')).replayed).toBeUndefined()
    expect([await titles(tenant), await titles(other)]).toEqual([['another caller', 'mine'], ['mine']])
  })

  test('that failed has left nothing: the retry is carried out', async () => {
    const tenant = await database.tenant('acme', isolation)
    const unknown = '01890a5d-ac96-774b-bcce-b302099a8057'
    expect(await codeOf(first(tenant, 'CreateTask', { title: 'assigned', assignee: unknown }, 'k'))).toBe('invalid-request')
    expect((await second(tenant, 'CreateTask', { title: 'corrected' }, 'k')).replayed).toBeUndefined()
    expect(await titles(tenant)).toEqual(['corrected'])
  })

  test('kept for 24 hours, then it is new', async () => {
    const tenant = await database.tenant('acme', isolation)
    const made = await first(tenant, 'CreateTask', { title: 'old' }, 'k')
    const age = async (age: string) => {
      const text = (schema: string) => `UPDATE ${schema}idempotency SET time = now() - $2::interval WHERE tenant_id = $1`
      await replicas.session().bundle(tenant, [{ name: 'age', text, values: [tenant.uid, age] }])
    }
    await age('23 hours 59 minutes')
    expect(await second(tenant, 'CreateTask', { title: 'old' }, 'k')).toEqual({ ...made, replayed: true })
    await age('24 hours 1 minute')
    const again = await second(tenant, 'CreateTask', { title: 'new' }, 'k')
    expect(again.replayed).toBeUndefined()
    expect(await first(tenant, 'CreateTask', { title: 'new' }, 'k')).toEqual({ ...again, replayed: true })
  })
})

test('answers that are over go with the next ones', async () => {
  const tenant = await database.tenant('acme')
  const keys = (count: number, prefix: string) => Array.from({ length: count }, (_, index) => `${prefix}${index}`)
  for (const key of keys(10, 'old')) await first(tenant, 'CreateTask', { title: key }, key)
  await database.asTenant(tenant, "UPDATE idempotency SET time = time - interval '25 hours' WHERE tenant_id = $1", [tenant.uid])
  // One of them is used again in the very command that lets others go.
  await first(tenant, 'CreateTask', { title: 'again' }, 'old0')
  for (const key of keys(5, 'new')) await second(tenant, 'CreateTask', { title: key }, key)
  const left = await database.asTenant(tenant, 'SELECT key FROM idempotency WHERE tenant_id = $1 ORDER BY key', [tenant.uid])
  expect(left.map(({ key }) => key)).toEqual([...keys(5, 'new'), 'old0'])
})

test('HT-04: sent 20 times at once to two replicas, one takes effect; the others get its answer, or are told that it still runs', async () => {
  const tenant = await database.tenant('acme')
  const found = { effects: 0, replayed: 0, running: 0 }
  const ROUNDS = 20
  for (let round = 0; round < ROUNDS; round += 1) {
    const sent = Array.from({ length: 20 }, (_, index) =>
      (index % 2 === 0 ? first : second)(tenant, 'CreateTask', { title: `${round}` }, `k${round}`),
    )
    const ended = await Promise.allSettled(sent)
    const outcomes = ended.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const refusals = ended.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []))
    expect(refusals.filter((code) => code !== 'conflict')).toEqual([])
    expect(new Set(outcomes.map(({ id }) => id)).size).toBe(1)
    found.replayed += outcomes.filter(({ replayed }) => replayed).length
    found.running += refusals.length
  }
  found.effects = (await titles(tenant)).length
  printFigure(
    `HT-04: ${ROUNDS} commands sent 20 times each: ${found.effects} effects, ${found.replayed} replayed, ${found.running} told that it runs`,
  )
  expect(found.effects).toBe(ROUNDS)
  expect(found.replayed).toBeGreaterThan(0)
})
