import { expect, test } from 'vitest'
import { type Isolation, TENANT_FINALIZER, TENANT_RELEASE, type TenantSpec, type TenantStatus } from '../../crds/tenant.ts'
import type { ObjectMeta } from '../kubernetes/object.ts'
import type { TenantFacts } from '../postgres/catalog.ts'
import type { Tenant } from './home.ts'
import type { Look, TenantWorld } from './observe.ts'
import { planTenant } from './plan.ts'

const UID = '0197fbd2-6d0e-7000-8000-000000000001'
const FORMER = '0197fbd2-6d0e-7000-8000-000000000002'
const NAME = 't_0197fbd26d0e70008000000000000001'

type Changes = { spec?: Partial<TenantSpec>; status?: TenantStatus; metadata?: Partial<ObjectMeta> }

const tenant = ({ spec, status, metadata }: Changes = {}): Tenant => ({
  apiVersion: 'tenantry.dev/v1alpha1',
  kind: 'Tenant',
  metadata: {
    name: 'acme',
    namespace: 'ns',
    uid: UID,
    resourceVersion: '1',
    creationTimestamp: '',
    finalizers: [TENANT_FINALIZER],
    ...metadata,
  },
  spec: { plan: 'free', isolation: 'schema', suspended: false, deletionPolicy: 'Retain', deletionProtection: false, ...spec },
  status: { shard: 'a', ...status },
})
const INSTALLATION = '0197fbd2-6d0e-7000-8000-0000000000aa'
const record = {
  installation: INSTALLATION,
  owner: UID,
  namespace: 'ns',
  name: 'acme',
  isolation: 'schema',
  database: 'tenantry',
  schema: NAME,
  role: NAME,
  epoch: 1,
  retained: false,
  made: true,
} as const
const whole: TenantFacts = { record, placeExists: true, roleExists: true, granted: true, version: 2, baseVersion: 0, logins: [] }
const nothing: TenantFacts = { ...whole, record: undefined, placeExists: false, roleExists: false, granted: false, version: 0 }
const latest = { tenant: 2, database: 2 }
const seen = (facts: Partial<TenantFacts> = {}): Look => ({ kind: 'seen', facts: { ...whole, ...facts }, database: 'tenantry' })
const world = (look: Look, changes: Changes = {}, keys: TenantWorld['keys'] = []): TenantWorld => ({
  tenant: tenant(changes),
  installation: INSTALLATION,
  candidates: [],
  look,
  keys,
  hasLogin: true,
  takenHosts: [],
  now: 0,
})
const key = (name: string, sha256: string | undefined = 'x') => ({
  name,
  secret: `acme-apikey-${name}`,
  uid: 'u',
  resourceVersion: '1',
  sha256,
  prefix: 'tnt_abcdefgh',
  issuedAt: 0,
  previous: undefined,
})
const blocked: Look = { kind: 'blocked', reason: 'ShardUnreachable', message: 'No.' }
const deleted = { metadata: { deletionTimestamp: 'now' } }
const removed: Changes = { ...deleted, spec: { deletionPolicy: 'Delete' } }

const ownRecord = { ...record, isolation: 'database', database: NAME, schema: 'tenant' } as const
const times = ['statement_timeout=2000ms', 'lock_timeout=1000ms', 'idle_in_transaction_session_timeout=6000ms']
const settings = ['search_path=""', 'plan_cache_mode=force_generic_plan', 'enable_seqscan=off', ...times]
const login = (name: string, connections: number, ...more: string[]) => ({
  name,
  inUse: name === NAME,
  canLogin: true,
  connections,
  settings: [...settings, ...more],
})
const own = { ...whole, record: ownRecord, baseVersion: 2, logins: [login(NAME, 20)] }
const limited = (connections: number, ...more: string[]) => inMode('database', { ...own, logins: [login(NAME, connections, ...more)] })
const OTHER = `${NAME}_b`
const besides = (connections: number, ...others: (typeof own)['logins']) =>
  inMode('database', { ...own, logins: [login(NAME, connections), ...others] })
const inMode = (isolation: Isolation, facts: Partial<TenantFacts>) => world(seen(facts), { spec: { isolation } })

const kept = { ...record, owner: 'former', name: 'former', retained: true }
const adopting = (found: TenantFacts['record'], facts: Partial<TenantFacts> = {}, metadata: Partial<ObjectMeta> = {}) =>
  world(seen({ ...(found === undefined ? nothing : {}), granted: false, ...facts, record: found }), { spec: { adopt: FORMER }, metadata })

const steps: [string, TenantWorld, string[], string | undefined][] = [
  ['nothing when all stands', world(seen()), [], undefined],
  ['everything for a new one', world(seen(nothing)), ['create'], undefined],
  ['the migrations that are missing', world(seen({ version: 1 })), ['migrate'], undefined],
  ['nothing when a newer operator has migrated further', world(seen({ version: 3 })), [], undefined],
  ['a grant that was revoked', world(seen({ granted: false })), ['grant'], undefined],
  ['opens again what was kept', world(seen({ granted: false, record: { ...record, retained: true } })), ['reopen'], undefined],
  ['no schema of somebody else', world(seen({ ...nothing, placeExists: true })), [], 'NameConflict'],
  ['no role of somebody else', world(seen({ ...nothing, roleExists: true })), [], 'NameConflict'],
  [
    'one record for a tenant of the shared tables',
    inMode('row', { ...nothing, placeExists: true, roleExists: true, version: 2 }),
    ['create'],
    undefined,
  ],
  ['leaves the shared tables to the Shard', inMode('row', { record: { ...record, isolation: 'row' }, version: 1 }), [], 'SchemaBehind'],
  [
    'goes on with a database that is half made',
    inMode('database', { ...own, record: { ...ownRecord, made: false }, placeExists: false }),
    ['create'],
    undefined,
  ],
  ['lets the runtime into a database whose login is lost', { ...inMode('database', own), hasLogin: false }, ['grant'], undefined],
  ['what surrounds the tables of a database', inMode('database', { ...own, baseVersion: 1 }), ['migrate'], undefined],
  ['nothing for a login that has its limits, whatever else is set for it', limited(20, 'work_mem=64MB'), [], undefined],
  ['a number of connections that was changed', limited(-1), ['limit'], undefined],
  ['a time that was changed for the one database', limited(20, 'statement_timeout=0'), ['limit'], undefined],
  ['half of the connections for each of two logins', besides(10, login(OTHER, 10, `role=${NAME}`)), [], undefined],
  ['two logins that may have more than one', besides(20, login(OTHER, 20, `role=${NAME}`)), ['limit'], undefined],
  ['a login that acts as itself', besides(10, login(OTHER, 10)), ['limit'], undefined],
  ['a login that acts as another', besides(10, login(OTHER, 10, 'role=another')), ['limit'], undefined],
  ['all for the one that is left', besides(10, { ...login(OTHER, 10), canLogin: false }), ['limit'], undefined],
  ['nothing for one that is not let in', besides(20, { ...login(OTHER, 20), canLogin: false }), [], undefined],
  ['the times of another plan', world(seen(own), { spec: { isolation: 'database', plan: 'basic' } }), ['limit'], undefined],
  [
    'the connections that the spec asks for',
    world(seen(own), { spec: { isolation: 'database', limits: { connections: 5 } } }),
    ['limit'],
    undefined,
  ],
  ['no empty database in the place of a lost one', inMode('database', { ...own, placeExists: false }), [], 'DataMissing'],
  ['no tenant of another isolation', inMode('row', {}), [], 'NameConflict'],
  ['no data of another Tenant', world(seen({ record: { ...record, name: 'other' } })), [], 'NameConflict'],
  ['no data of another installation', world(seen({ record: { ...record, installation: 'theirs' } })), [], 'NameConflict'],
  ['what is older than installations', world(seen({ record: { ...record, installation: null } })), [], undefined],
  ['no empty schema in the place of a lost one', world(seen({ placeExists: false })), [], 'DataMissing'],
  ['no empty tenant in the place of a lost one', world(seen(nothing), { status: { schema: NAME } }), [], 'DataMissing'],
  ['nothing while the Shard does not answer', world(blocked), [], 'ShardUnreachable'],
  ['keeps the data of a deleted one', world(seen(), deleted), ['retain'], undefined],
  ['removes it when asked to', world(seen(), { ...deleted, spec: { deletionPolicy: 'Delete' } }), ['drop'], undefined],
  ['nothing of a deleted one that never stood', world(seen(nothing), deleted), [], undefined],
  [
    'OP-17: what a removal has left, which is ours',
    world(seen({ ...nothing, roleExists: true }), { ...removed, status: { schema: NAME } }),
    ['drop'],
    undefined,
  ],
  ['OP-17: nothing of a schema that never was ours', world(seen({ ...nothing, placeExists: true }), removed), [], undefined],
  ['takes kept data over', adopting({ ...kept }), ['adopt'], undefined],
  ['brings what it takes over up to date', adopting({ ...kept }, { version: 1 }), ['adopt', 'migrate'], undefined],
  ['goes on with what it has taken over', adopting({ ...kept, owner: UID, name: 'acme', retained: false }), ['grant'], undefined],
  ['takes nothing from a Tenant that lives', adopting({ ...kept, retained: false }), [], 'AdoptRefused'],
  ['takes over no other isolation', adopting({ ...kept, isolation: 'row' }), [], 'AdoptRefused'],
  ['takes nothing out of another namespace', adopting({ ...kept, namespace: 'theirs' }), [], 'AdoptRefused'],
  ['takes nothing from another installation', adopting({ ...kept, installation: 'theirs' }), [], 'AdoptRefused'],
  ['makes no empty tenant where there is nothing to take over', adopting(undefined), [], 'AdoptRefused'],
  ['leaves what it could not take over', adopting({ ...kept }, {}, deleted.metadata), [], undefined],
  ['leaves the data of another installation', world(seen({ record: { ...record, installation: 'theirs' } }), deleted), [], undefined],
  ['waits with the end until the Shard answers', world(blocked, deleted), [], 'ShardUnreachable'],
]

test.each(steps)('plans %s', (_, found, expected, failure) => {
  const plan = planTenant(found, latest)
  if (plan.kind !== 'serve' && plan.kind !== 'remove') throw new Error(plan.kind)
  expect(plan.steps.map(({ kind }) => kind)).toEqual(expected)
  expect(plan.failure?.reason).toBe(failure)
})

test('plans keys: issues, replaces what lost its token, revokes, also while the Shard does not answer', () => {
  const apiKeys = ['new', 'broken', 'good'].map((name) => ({ name, scopes: ['tasks:read' as const] }))
  const plan = planTenant(world(blocked, { spec: { apiKeys } }, [key('old'), { ...key('broken'), sha256: undefined }, key('good')]), latest)
  expect(plan).toMatchObject({
    kind: 'serve',
    keys: [
      { kind: 'issue', name: 'new' },
      { kind: 'replace', key: { name: 'broken' } },
      { kind: 'revoke', key: { name: 'old' } },
    ],
  })
})

test('waits when the Shard has not been looked at yet, and puts a finalizer back that is missing', () => {
  expect(planTenant(world({ kind: 'unknown' }), latest)).toEqual({ kind: 'wait' })
  expect(planTenant(world(seen(), { metadata: { finalizers: [] } }), latest)).toMatchObject({ kind: 'serve', claim: true })
})

test.each([
  ['its own name', 'acme', true],
  ['another name, as in a copied manifest', 'globex', false],
  ['nothing', undefined, false],
])('OP-17: a Tenant under deletion is released by %s only', (_, value, released) => {
  const metadata = { ...deleted.metadata, ...(value === undefined ? {} : { annotations: { [TENANT_RELEASE]: value } }) }
  const plan = planTenant(world(blocked, { metadata }), latest)
  if (plan.kind !== 'remove') throw new Error(plan.kind)
  expect(plan.released).toBe(released)
  expect(plan.failure?.message).toContain('kubectl annotate tenant acme -n ns tenantry.dev/release=acme')
})
