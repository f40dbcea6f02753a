import { describe, expect, test } from 'vitest'
import { DEFAULT_SCOPES, type Route } from '../../config/routing.ts'
import { buildRoute } from '../../test/builders/routing.ts'
import { buildTable } from '../routing/table.ts'
import { type Claims, type Identity, identify } from './identify.ts'

const acme = buildRoute({ id: 'acme', hosts: ['tasks.acme.example'], keys: [{ name: 'web', sha256: 'a'.repeat(64) }] })
const globex = buildRoute({ id: 'globex', keys: [{ name: 'web', sha256: 'b'.repeat(64) }] })
const table = buildTable([{ version: 1, shards: {}, tenants: [acme, globex] }], new Map(), new Map())

const acmeKey = acme.keys[0]?.sha256
const NOW = Date.parse('2026-01-01T00:00:00Z')
const ask = (claims: Partial<Claims>, directory = table): Identity =>
  identify(
    { keyHash: undefined, host: undefined, tenantId: undefined, ...claims },
    directory,
    'tenantry.test',
    (left, right) => left === right,
    NOW,
  )

const accepted: Identity = { kind: 'tenant', route: acme, caller: 'key:web', scopes: new Set(DEFAULT_SCOPES) }

describe('a key decides, host and header narrow', () => {
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
  ])('TI-03: %s is fine', (_, host) => {
    expect(ask({ keyHash: acmeKey, host })).toEqual(accepted)
  })

  test.each([
    ['another tenant by name', 'globex.tenantry.test', 'conflict'],
    ['a tenant nobody knows', 'initech.tenantry.test', 'unknown-host'],
    ['two labels', 'a.acme.tenantry.test', 'unknown-host'],
    ['an empty label', '.tenantry.test', 'unknown-host'],
  ])('TI-02: %s in the host is refused', (_, host, kind) => {
    expect(ask({ keyHash: acmeKey, host })).toEqual({ kind })
  })

  test("OP-26: a tenant that lists another's name under the base domain takes nothing from it", () => {
    const thief = buildRoute({
      id: 'thief',
      hosts: ['acme.tenantry.test', 'free.tenantry.test'],
      keys: [{ name: 'web', sha256: 'c'.repeat(64) }],
    })
    const crowded = buildTable([{ version: 1, shards: {}, tenants: [thief, acme] }], new Map(), new Map())
    expect(ask({ keyHash: acmeKey, host: 'acme.tenantry.test' }, crowded)).toEqual(accepted)
    expect(ask({ keyHash: thief.keys[0]?.sha256, host: 'acme.tenantry.test' }, crowded)).toEqual({ kind: 'conflict' })
    expect(ask({ keyHash: thief.keys[0]?.sha256, host: 'free.tenantry.test' }, crowded)).toMatchObject({ kind: 'tenant', route: thief })
  })

  test('TI-03: a name that only ends like the base domain names nobody', () => {
    expect(ask({ keyHash: acmeKey, host: 'globextenantry.test' })).toEqual(accepted)
  })

  test('TI-01: X-Tenant-ID only narrows', () => {
    expect(ask({ keyHash: acmeKey, tenantId: 'acme' })).toEqual(accepted)
    expect(ask({ keyHash: acmeKey, tenantId: 'globex' })).toEqual({ kind: 'conflict' })
    expect(ask({ keyHash: acmeKey, tenantId: '' })).toEqual({ kind: 'conflict' })
    expect(ask({ tenantId: 'acme' })).toEqual({ kind: 'no-credential' })
  })

  test('a host alone opens nothing, and an unknown key is unknown on every host', () => {
    expect(ask({ host: 'acme.tenantry.test' })).toEqual({ kind: 'no-credential' })
    expect(ask({ keyHash: 'c'.repeat(64), host: 'acme.tenantry.test' })).toEqual({ kind: 'unknown-key' })
  })
})

describe('TI-08: a suspended tenant', () => {
  test.each<[string, Partial<Route>, Identity['kind']]>([
    ['is suspended by its owner', { state: 'suspended' }, 'suspended'],
    ['is suspended by its owner before its end', { state: 'suspended', subscriptionEndsAt: '2026-01-01T00:00:01.000Z' }, 'suspended'],
    ['was served until now', { subscriptionEndsAt: '2026-01-01T00:00:00.000Z' }, 'suspended'],
    ['is served a millisecond longer', { subscriptionEndsAt: '2026-01-01T00:00:00.001Z' }, 'tenant'],
  ])('%s', (_, changes, kind) => {
    const suspended = buildTable([{ version: 1, shards: {}, tenants: [{ ...acme, ...changes }, globex] }], new Map(), new Map())
    expect(ask({ keyHash: acmeKey }, suspended).kind).toBe(kind)
    expect(ask({ keyHash: acmeKey, tenantId: 'globex' }, suspended)).toEqual({ kind: 'conflict' })
    expect(ask({ keyHash: globex.keys[0]?.sha256 }, suspended).kind).toBe('tenant')
    expect(ask({ keyHash: 'c'.repeat(64), host: 'acme.tenantry.test' }, suspended)).toEqual({ kind: 'unknown-key' })
  })
})
