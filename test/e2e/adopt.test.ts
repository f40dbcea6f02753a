import { expect, test } from 'vitest'
import { apply, ask, createTenant, eventually, kubectl, replicas, tenantYaml } from './platform.ts'

const uidOf = async (name: string) => (await kubectl(['get', 'tenant', name, '-o', 'jsonpath={.metadata.uid}'])).trim()
const spec = (isolation: string, adopt: string) => ({ isolation, adopt, shardRef: { name: 'shard-a' }, apiKeys: [{ name: 'main' }] })

async function refusal(name: string): Promise<string> {
  return eventually(async () => {
    const { status } = JSON.parse(await kubectl(['get', 'tenant', name, '-o', 'json']))
    const ready = status.conditions.find(({ type }: { type: string }) => type === 'Ready')
    expect(ready).toMatchObject({ status: 'False', reason: 'AdoptRefused' })
    return ready.message
  })
}

test.each(['row', 'schema', 'database'])(
  'OP-17: a new Tenant takes over the kept data of a former one: isolation %s',
  async (isolation) => {
    const [former, heir, late] = [`former-${isolation}`, `heir-${isolation}`, `late-${isolation}`]
    const formerKey = await createTenant(former, 'shard-a', { isolation })
    const uid = await uidOf(former)
    expect((await ask(replicas[0], formerKey, 'POST', '/v1/tasks', { title: 'kept' })).status).toBe(201)

    await apply(tenantYaml(late, spec(isolation, uid)))
    expect(await refusal(late)).toContain(`in use by Tenant ${former}`)
    await kubectl(['delete', 'tenant', late, '--timeout=60s'])
    expect((await ask(replicas[1], formerKey, 'GET', '/v1/tasks')).status).toBe(200)
    await kubectl(['delete', 'tenant', former, '--timeout=60s'])

    await apply(tenantYaml(late, spec(isolation === 'row' ? 'schema' : 'row', uid)))
    expect(await refusal(late)).toContain(`has isolation ${isolation}`)
    await kubectl(['delete', 'tenant', late, '--timeout=60s'])

    const key = await createTenant(heir, 'shard-a', { isolation, adopt: uid })
    const { body } = await ask(replicas[1], key, 'GET', '/v1/tasks')
    expect(body.items).toMatchObject([{ title: 'kept' }])
    expect((await ask(replicas[0], key, 'POST', '/v1/tasks', { title: 'new' })).status).toBe(201)
    await eventually(async () => expect((await ask(replicas[1], key, 'GET', '/v1/tasks/statistics')).body).toMatchObject({ total: 2 }))
    // Looks at the routing config for keys that nobody has are few: until there is one, nobody can say that the key is not a new one.
    const answers = async () => (await ask(replicas[0], formerKey, 'GET', '/v1/tasks')).status
    await eventually(async () => expect(await answers()).toBe(401))
    expect(await kubectl(['get', 'tenant', heir, '-o', 'jsonpath={.status.epoch}'])).toBe('2')
    await eventually(async () => expect(await kubectl(['get', 'events', '-o', 'jsonpath={.items[*].reason}'])).toContain('DataAdopted'))

    await apply(tenantYaml(late, spec(isolation, uid)))
    expect(await refusal(late)).toContain(`in use by Tenant ${heir}`)
    await kubectl(['delete', 'tenant', late, '--timeout=60s'])
    expect((await ask(replicas[0], key, 'GET', '/v1/tasks')).body.items).toHaveLength(2)
  },
)

test('OP-17: nothing is made in the place of data that is not there', async () => {
  await apply(tenantYaml('heir-of-none', spec('schema', '0197fbd2-6d0e-7000-8000-000000000001')))
  expect(await refusal('heir-of-none')).toContain('No data is kept')
  await kubectl(['delete', 'tenant', 'heir-of-none', '--timeout=60s'])
})
