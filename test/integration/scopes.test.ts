import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SCOPES, type Scope } from '../../config/routing.ts'
import { contractOf } from '../builders/conformance.ts'
import { printFigure } from '../builders/figure.ts'
import { type Offered, offeredBy, pathOf } from '../builders/offered.ts'
import { createProvider } from '../builders/provider.ts'
import { buildKey } from '../builders/routing.ts'
import { createWorld, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

/** How a credential with these scopes is sent. */
type Prove = (scopes: readonly Scope[]) => Promise<Record<string, string>>

let world: World
let runtime: RunningRuntime
let ways: Record<string, Prove>

beforeAll(async () => {
  world = await createWorld()
  const provider = await createProvider('acme')
  const sets = [...SCOPES.map((scope) => [scope]), ...SCOPES.map((scope) => others(scope)), []]
  const keys = new Map(sets.map((scopes) => [scopes.join(), buildKey(`k${randomUUID().slice(0, 8)}`)]))
  const routed = sets.map((scopes) => ({ ...(keys.get(scopes.join())?.key ?? buildKey().key), scopes }))
  await world.addTenant('acme', { jwt: provider.issuer, keys: routed })
  runtime = await startRuntime(world, { TENANTRY_GATEWAY_ADDRESSES: '127.0.0.1' })
  ways = {
    key: async (scopes) => ({ 'x-api-key': keys.get(scopes.join())?.token ?? '' }),
    'token, scope': async (scopes) => bearer(await provider.sign(provider.claims('acme', { scope: scopes.join(' ') }))),
    'token, scp': async (scopes) => bearer(await provider.sign(provider.claims('acme', { scope: undefined, scp: scopes }))),
    gateway: async (scopes) => ({ 'x-tenant-id': 'acme', 'x-tenant-scopes': scopes.join(' ') || 'none' }),
  }
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

function others(scope: string): Scope[] {
  return SCOPES.filter((one) => one !== scope)
}

async function call(
  operation: Offered,
  headers: Record<string, string>,
): Promise<{ status: number; text: string; challenge: string | null }> {
  const answer = await fetch(`${runtime.url}${pathOf(operation, randomUUID())}`, {
    method: operation.method,
    headers: { 'content-type': 'application/json', ...headers },
    ...(operation.body === undefined ? {} : { body: JSON.stringify(operation.body) }),
  })
  return { status: answer.status, text: await answer.text(), challenge: answer.headers.get('www-authenticate') }
}

test.each(['key', 'token, scope', 'token, scp', 'gateway'])(
  'HT-01: by %s, everything that the document offers is open to its scope alone (API5)',
  async (way) => {
    const prove = ways[way]
    const contract = contractOf(runtime.url)
    if (prove === undefined || contract === undefined) throw new Error('nothing to ask')
    const offered = offeredBy(contract).filter(({ scope }) => scope !== undefined)
    for (const operation of offered) {
      const { id, scope = '' } = operation
      const [without, none, alone, nobody] = await Promise.all([
        call(operation, await prove(others(scope))),
        call(operation, await prove([])),
        call(operation, await prove(SCOPES.filter((one) => one === scope))),
        call(operation, {}),
      ])
      expect([id, nobody.status]).toEqual([id, 401])
      expect([id, 401, 403]).not.toContain(alone.status)
      if (scope === 'any') continue
      expect([id, without.status, none.status]).toEqual([id, 403, 403])
      expect(JSON.parse(without.text)).toMatchObject({ detail: expect.stringContaining(scope), errors: [{ field: 'scope' }] })
      for (const { challenge } of [without, none]) expect(challenge).toBe(`Bearer error="insufficient_scope", scope="${scope}"`)
    }
    printFigure(`HT-01: ${offered.length} operations by ${way}, each open to its scope alone`)
  },
)
