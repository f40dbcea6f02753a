import { describe, expect, test } from 'vitest'
import { DEFAULT_SCOPES, type Route, type Scope } from '../../config/routing.ts'
import { printFigure } from '../../test/builders/figure.ts'
import { buildRoute } from '../../test/builders/routing.ts'
import { buildTable } from '../routing/table.ts'
import { type Claims, type Identity, identify, type Principal, parseScopes } from './identify.ts'

const acme = buildRoute({ id: 'acme', hosts: ['tasks.acme.example'] })
const globex = buildRoute({ id: 'globex' })
const table = buildTable([{ version: 1, shards: {}, tenants: [acme, globex] }], new Map(), new Map())

const NOW = Date.parse('2026-01-01T00:00:00Z')
const SCOPES = new Set(DEFAULT_SCOPES)
const key = (route: Route, scopes: ReadonlySet<Scope> = SCOPES): Principal => ({ route, caller: 'key:web', scopes })
const token = (route: Route, scopes: ReadonlySet<Scope> = SCOPES): Principal => ({ route, caller: 'jwt:alice', scopes })
const NOTHING = { key: undefined, token: undefined, host: undefined, tenantId: undefined, gateway: undefined }
const ask = (claims: Partial<Claims>, names = table): Identity => identify({ ...NOTHING, ...claims }, names, 'tenantry.test', NOW)

const accepted: Identity = { kind: 'tenant', ...key(acme) }
const CONFLICT = { kind: 'conflict' }

describe('a credential decides, host and header narrow', () => {
  test.each([
    ['no host', undefined],
    ['an address', '127.0.0.1:8080'],
    ['an IPv6 address', '[::1]:8080'],
    ['the base domain itself', 'tenantry.test'],
    ['a load balancer', 'lb.internal'],
    ['its own name', 'acme.tenantry.test'],
    ['its own name with a port', 'acme.tenantry.test:8080'],
    ['its own name in upper case', 'ACME.Tenantry.TEST'],
    ['its own name with a trailing dot', 'acme.tenantry.test.:80'],
    ['a host it lists', 'Tasks.Acme.Example'],
    ['a name that only ends like the base domain', 'globextenantry.test'],
    ['a name of which the base domain is a part', 'globex.tenantry.test.evil.example'],
  ])('TI-03: %s is fine', (_, host) => {
    expect(ask({ key: key(acme), host })).toEqual(accepted)
  })

  test.each([
    ['another tenant by name', 'globex.tenantry.test'],
    ['another tenant in upper case, with dot and port', 'GLOBEX.tenantry.test.:443'],
    ['a tenant nobody knows', 'initech.tenantry.test'],
    ['two labels', 'a.acme.tenantry.test'],
    ['an empty label', '.tenantry.test'],
    ['punycode', 'xn--acme-xyz.tenantry.test'],
    ['letters that look alike', 'ac\u043ce.tenantry.test'],
    ['a letter whose lower case is another', 'a\u212ame.tenantry.test'],
    ['a user before the name', 'acme@globex.tenantry.test'],
    ['two dots', 'acme.tenantry.test..'],
    ['two ports', 'acme.tenantry.test:80:80'],
    ['a path', 'lb.internal/acme.tenantry.test'],
    ['two names', 'acme.tenantry.test, globex.tenantry.test'],
    ['a space', 'acme.tenantry.test '],
  ])('TI-03: %s is refused', (_, host) => {
    expect(ask({ key: key(acme), host })).toEqual(CONFLICT)
  })

  test("OP-26: a tenant that lists another's name under the base domain takes nothing from it", () => {
    const thief = buildRoute({ id: 'thief', hosts: ['acme.tenantry.test', 'free.tenantry.test'] })
    const crowded = buildTable([{ version: 1, shards: {}, tenants: [thief, acme] }], new Map(), new Map())
    expect(ask({ key: key(acme), host: 'acme.tenantry.test' }, crowded)).toEqual(accepted)
    expect(ask({ key: key(thief), host: 'acme.tenantry.test' }, crowded)).toEqual(CONFLICT)
    expect(ask({ key: key(thief), host: 'free.tenantry.test' }, crowded)).toMatchObject({ kind: 'tenant', route: thief })
  })

  test('TI-01: X-Tenant-ID only narrows', () => {
    expect(ask({ key: key(acme), tenantId: 'acme' })).toEqual(accepted)
    expect(ask({ key: key(acme), tenantId: '' })).toEqual(CONFLICT)
    expect(ask({ key: key(acme), tenantId: 'initech' })).toEqual(CONFLICT)
    expect(ask({ tenantId: 'acme' })).toEqual({ kind: 'no-credential' })
    expect(ask({ host: 'acme.tenantry.test' })).toEqual({ kind: 'no-credential' })
    expect(ask({ host: 'acme.tenantry.test', tenantId: 'acme' })).toEqual({ kind: 'no-credential' })
  })

  test('TI-01: without a credential nothing shows whether a tenant is there', () => {
    for (const [known, unknown] of [
      [{ host: 'acme.tenantry.test' }, { host: 'initech.tenantry.test' }],
      [{ tenantId: 'acme' }, { tenantId: 'initech' }],
      [
        { host: 'acme.tenantry.test', tenantId: 'globex' },
        { host: 'initech.tenantry.test', tenantId: 'globex' },
      ],
      [
        { host: 'tasks.acme.example', tenantId: 'globex' },
        { host: 'tasks.initech.example', tenantId: 'globex' },
      ],
    ] satisfies Partial<Claims>[][])
      expect(ask(known ?? {})).toEqual(ask(unknown ?? {}))
  })
})

/** Every way to name acme, globex or nobody in each of four places, with a gateway and without. */
const COMBINATIONS = [0, 1, 2, 3].reduce<(Route | undefined)[][]>(
  (sets) => sets.flatMap((set) => [undefined, acme, globex].map((route) => [...set, route])),
  [[]],
)

test.each([undefined, SCOPES])('TI-02: whatever is sent, in any number, names one tenant or opens nothing (gateway: %o)', (gateway) => {
  for (const [k, t, h, x] of COMBINATIONS) {
    const claims = { key: k && key(k), token: t && token(t), host: h && `${h.id}.tenantry.test`, tenantId: x?.id, gateway }
    const [route, second] = new Set([k, t, h, x].filter((one) => one !== undefined))
    const proven = k ?? t ?? gateway
    const expected = route === undefined || proven === undefined ? { kind: 'no-credential' } : { kind: 'tenant', route }
    expect(ask(claims), [k, t, h, x].map((one) => one?.id).join()).toMatchObject(second === undefined ? expected : CONFLICT)
  }
  printFigure(`TI-02: ${COMBINATIONS.length} combinations of key, token, host and X-Tenant-ID, ${gateway ? 'from' : 'without'} a gateway`)
})

test('with a key and a token only what both may do is allowed, and the person has acted', () => {
  const both = { key: key(acme, new Set(['tasks:read', 'tasks:write'])), token: token(acme, new Set(['tasks:read', 'tenant:admin'])) }
  expect(ask(both)).toEqual({ kind: 'tenant', route: acme, caller: 'jwt:alice', scopes: new Set(['tasks:read']) })
})

describe('a gateway', () => {
  const gateway = new Set<Scope>(['tasks:read'])
  const opened = { kind: 'tenant', route: acme, caller: 'gateway', scopes: gateway }

  test.each<[string, Partial<Claims>, object]>([
    ['by X-Tenant-ID', { tenantId: 'acme' }, opened],
    ['by name', { host: 'acme.tenantry.test' }, opened],
    ['by a host it lists', { host: 'tasks.acme.example' }, opened],
    ['by both', { host: 'acme.tenantry.test', tenantId: 'acme' }, opened],
    ['by X-Tenant-ID at its own address', { host: '10.0.0.1:8080', tenantId: 'acme' }, opened],
    ['not by two that disagree', { host: 'globex.tenantry.test', tenantId: 'acme' }, CONFLICT],
    ['not by a name nobody knows', { host: 'initech.tenantry.test' }, { kind: 'unknown-tenant' }],
    ['not by an id nobody knows', { tenantId: 'initech' }, { kind: 'unknown-tenant' }],
    ['not by an id nobody knows beside a known name', { host: 'acme.tenantry.test', tenantId: 'initech' }, { kind: 'unknown-tenant' }],
    ['not by nothing', { host: '10.0.0.1:8080' }, { kind: 'no-credential' }],
    ['with the rights of a credential where there is one', { key: key(acme), tenantId: 'acme' }, accepted],
    ['not against a credential', { key: key(globex), tenantId: 'acme' }, CONFLICT],
  ])('TI-01: names a tenant %s', (_, claims, identity) => {
    expect(ask({ ...claims, gateway })).toEqual(identity)
  })

  test('gives words of ours, others mean nothing', () => {
    expect(parseScopes(['tasks:read', 'tasks:*', 'admin', '', 7, 'tenant:admin'])).toEqual(new Set(['tasks:read', 'tenant:admin']))
  })
})

describe('TI-08: a suspended tenant', () => {
  test.each<[string, Partial<Route>, Identity['kind']]>([
    ['is suspended by its owner', { state: 'suspended' }, 'suspended'],
    ['is suspended by its owner before its end', { state: 'suspended', subscriptionEndsAt: '2026-01-01T00:00:01.000Z' }, 'suspended'],
    ['was served until now', { subscriptionEndsAt: '2026-01-01T00:00:00.000Z' }, 'suspended'],
    ['is served a millisecond longer', { subscriptionEndsAt: '2026-01-01T00:00:00.001Z' }, 'tenant'],
  ])('%s, whoever asks', (_, changes, kind) => {
    const route = { ...acme, ...changes }
    const suspended = buildTable([{ version: 1, shards: {}, tenants: [route, globex] }], new Map(), new Map())
    for (const claims of [{ key: key(route) }, { token: token(route) }, { tenantId: 'acme', gateway: SCOPES }])
      expect(ask(claims, suspended).kind).toBe(kind)
    expect(ask({ key: key(route), tenantId: 'globex' }, suspended)).toEqual(CONFLICT)
    expect(ask({ key: key(globex) }, suspended).kind).toBe('tenant')
    expect(ask({ host: 'acme.tenantry.test' }, suspended)).toEqual({ kind: 'no-credential' })
  })
})
