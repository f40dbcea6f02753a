import { type CryptoKey, exportJWK, importJWK } from 'jose'
import { afterEach, expect, test, vi } from 'vitest'
import type { Issuer, Route } from '../../config/routing.ts'
import { printFigure } from '../../test/builders/figure.ts'
import { createProvider } from '../../test/builders/provider.ts'
import { buildRoute } from '../../test/builders/routing.ts'
import { silent } from '../../test/builders/runtime.ts'
import { tokenAttacks } from '../../test/builders/token-attacks.ts'
import { KeySets } from './key-sets.ts'
import { createVerifyToken } from './verify.ts'

const [acme, globex] = await Promise.all([createProvider('acme'), createProvider('globex', 'RS256')])
const routeOf = (id: string, jwt?: Issuer) => buildRoute({ id, ...(jwt === undefined ? {} : { jwt }) })
const tableOf = (...routes: Route[]) => new Map(routes.map((route) => [route.id, route]))
const routes = tableOf(routeOf('acme', acme.issuer), routeOf('globex', globex.issuer), routeOf('plain'))
const verify = createVerifyToken(silent)

afterEach(() => {
  vi.useRealTimers()
})

test('TI-04: a token is verified with what its tenant has pinned, and may do what it says', async () => {
  const verdict = await verify(await acme.sign(acme.claims('acme', { scope: 'tasks:read openid' })), routes)
  expect(verdict).toEqual({ route: routes.get('acme'), caller: 'jwt:alice', scopes: new Set(['tasks:read']) })
  expect(await verify(await globex.sign(globex.claims('globex', { aud: ['other', 'globex-tasks'] })), routes)).toMatchObject({
    caller: 'jwt:alice',
  })
  const { scope: _, ...silentClaims } = acme.claims('acme') as { scope: string }
  expect(await verify(await acme.sign(silentClaims), routes)).toMatchObject({ scopes: new Set() })
})

test('TI-04: every attack is refused', async () => {
  const longer = (await importJWK(await exportJWK(globex.privateKey), 'RS512')) as CryptoKey
  const attacks = [
    ...(await tokenAttacks(acme, globex)),
    ['a tenant that takes no tokens', await acme.sign(acme.claims('plain'))],
    ['an algorithm of the key that is not pinned', await globex.sign(globex.claims('globex'), { alg: 'RS512' }, longer)],
  ] as const
  const accepted: string[] = []
  for (const [what, token] of attacks) if (typeof (await verify(token, routes)) === 'object') accepted.push(what)
  expect(accepted).toEqual([])
  printFigure(`TI-04: ${attacks.length - accepted.length} of ${attacks.length} attacks refused`)
})

test('TI-04: a clock of the provider that is a little ahead is borne with, its end is not', async () => {
  const now = Math.floor(Date.now() / 1_000)
  expect(await verify(await acme.sign(acme.claims('acme', { nbf: now + 3 })), routes)).toMatchObject({ caller: 'jwt:alice' })
  expect(await verify(await acme.sign(acme.claims('acme', { exp: now })), routes)).toBe('void')
})

test('a token that is known is not verified again, until it ends or the route of its tenant is another', async () => {
  let asked = 0
  class Counted extends KeySets {
    override of(route: Route) {
      asked += 1
      return super.of(route)
    }
  }
  const once = createVerifyToken(silent, new Counted())
  const end = Math.floor(Date.now() / 1_000) + 60
  const token = await acme.sign(acme.claims('acme', { exp: end }))
  const first = await once(token, routes)
  expect(once(token, routes)).toBe(first)
  expect(asked).toBe(1)

  const other = await createProvider('acme')
  expect(await once(token, tableOf(routeOf('acme', other.issuer)))).toBe('unknown')
  expect(await once(token, tableOf(routeOf('acme')))).toBe('unknown')
  expect(await once(token, new Map())).toBe('unknown')
  expect(once(token, routes)).toBe(first)
  vi.useFakeTimers({ toFake: ['Date'], now: end * 1_000 - 1 })
  expect(once(token, routes)).toBe(first)
  vi.setSystemTime(end * 1_000)
  expect(once(token, routes)).toBe('void')
})

test('a key set that cannot be used refuses every token, and says so in the log', async () => {
  const reasons: unknown[] = []
  const told = createVerifyToken({ ...silent, info: (fields) => reasons.push(fields) })
  const broken = { ...acme.issuer, jwks: { keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }] } } satisfies Issuer
  expect(await told(await acme.sign(acme.claims('acme')), tableOf(routeOf('acme', broken)))).toBe('unknown')
  expect(reasons).toMatchObject([{ tenantId: 'acme', reason: expect.stringMatching(/\w/) }])
})
