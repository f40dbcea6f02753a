import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { CREDENTIALS_SECRET, type Credentials, parseCredentials } from '../../config/routing.ts'
import { tenantName } from '../../operator/postgres/names.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { keyOf, tenantManifest } from '../builders/tenant.ts'
import { startTraffic } from '../builders/traffic.ts'
import { type RunningRuntime, startClusterRuntime } from '../builders/world.ts'
import { type ApiProxy, type Fault, type ProxiedCall, startApiProxy } from '../faults/api-proxy.ts'

const PATIENCE = { timeout: 60_000, interval: 50 }
const HOUR = 3_600_000
const database = `test_${randomBytes(4).toString('hex')}`
const superuser = new pg.Client({ connectionString: inject('postgres').superuserUrl })
let namespace: string
let proxy: ApiProxy
let operator: RunningOperator
let runtime: RunningRuntime
let touches = 0

/** Whose login is replaced: that of all tenants of a Shard, or that of a tenant with a database of its own. */
type Subject = { kind: 'shard' | 'tenant'; name: string; tenant: string }
const SUBJECTS: Subject[] = [
  { kind: 'shard', name: 'shard-a', tenant: 'acme' },
  { kind: 'tenant', name: 'own', tenant: 'own' },
]
/** The subject under test: its key in the Secret, its two logins, the database they lead to, the token of its tenant. */
let it: Subject & { key: string; logins: [string, string]; into: string; token: string }

beforeAll(async () => {
  await superuser.connect()
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  const credentials = { rotateAfter: '1h' }
  await applyAll(namespace, [
    shardManifest('shard-a', shardSpec(database, { credentials })),
    tenantManifest('acme', { plan: 'premium' }),
    tenantManifest('own', { plan: 'premium', isolation: 'database', credentials }),
  ])
  proxy = await startApiProxy(inject('kubernetes').kubeconfig)
  operator = await start()
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'tenant', '--all', '--timeout=60s'])
  runtime = await startClusterRuntime(namespace)
})

afterAll(async () => {
  await runtime?.stop()
  await operator?.stop()
  await proxy?.[Symbol.asyncDispose]()
  await superuser.end()
})

const start = () => startOperator(namespace, { KUBECONFIG: proxy.kubeconfig })
const get = async (...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))
const touch = () => kubectl(['label', it.kind, it.name, '-n', namespace, '--overwrite', `touched=${++touches}`])

async function take(subject: Subject): Promise<void> {
  const token = await keyOf(namespace, subject.tenant)
  const role = tenantName((await get('tenant', subject.tenant)).metadata.uid)
  const own = { key: role, logins: [role, `${role}_b`] as [string, string], into: role }
  const shared = { key: subject.name, logins: [`${database}_runtime_a`, `${database}_runtime_b`] as [string, string], into: database }
  it = { ...subject, ...(subject.kind === 'tenant' ? own : shared), token }
}

async function credentials(): Promise<Credentials> {
  const { data } = await get('secret', CREDENTIALS_SECRET)
  const parsed = parseCredentials(Buffer.from(data[it.key], 'base64').toString())
  if (!parsed.ok) throw new Error(parsed.faults.join())
  return parsed.value
}

/** Makes the login look as old as that, and has the Shard looked at. */
async function age(ms: number): Promise<void> {
  const text = JSON.stringify({ ...(await credentials()), issuedAt: new Date(Date.now() - ms).toISOString() })
  const data = { [it.key]: Buffer.from(text).toString('base64') }
  await kubectl(['patch', 'secret', CREDENTIALS_SECRET, '-n', namespace, '--type=merge', '-p', JSON.stringify({ data })])
  await touch()
}

/** `in`, or the SQLSTATE it was refused with. */
async function knock({ username, password, ca }: Credentials): Promise<string> {
  const { host, port } = inject('postgres')
  const client = new pg.Client({ host, port, database: it.into, user: username, password, ssl: { ca: ca ?? inject('postgres').ca } })
  const refusal = (error: unknown) => (error instanceof pg.DatabaseError ? (error.code ?? '') : String(error))
  const answer = client.connect().then(() => 'in', refusal)
  return answer.finally(() => client.end())
}

const connectionsOf = async (username: string) =>
  (await superuser.query('SELECT FROM pg_stat_activity WHERE usename = $1', [username])).rowCount ?? 0

const rotatedFrom = (before: Credentials) =>
  vi.waitFor(async () => {
    const after = await credentials()
    expect(after.username).not.toBe(before.username)
    return after
  }, PATIENCE)

// The old login's connections are let go by who comes with the new one, the runtime and the operator, and else when they have long been idle.
const askForTasks = () => fetch(new URL('/v1/tasks', runtime.url), { headers: { 'x-api-key': it.token } })
const lookAtTenant = () => kubectl(['label', 'tenant', it.tenant, '-n', namespace, '--overwrite', `looked-at=${Date.now()}`])

/** The old login goes when nobody uses it and a minute has passed. */
async function revoked(before: Credentials): Promise<void> {
  await Promise.all([askForTasks(), lookAtTenant()])
  await vi.waitFor(async () => expect(await connectionsOf(before.username)).toBe(0), PATIENCE)
  await age(61_000)
  await vi.waitFor(async () => expect(await knock(before)).toMatch(/^28/), PATIENCE)
}

describe.each(SUBJECTS)('the login of a $kind', (subject) => {
  beforeAll(() => take(subject))

  test('OP-21, PG-15: the login is replaced under load without a failed request, and the old one is refused afterwards', async () => {
    const traffic = startTraffic(runtime.url, it.token)
    const before = await credentials()
    expect(before.username).toBe(it.logins[0])
    await age(2 * HOUR)
    const since = performance.now()
    const after = await rotatedFrom(before)
    expect([await knock(before), await knock(after)]).toEqual(['in', 'in'])
    await vi.waitFor(async () => expect(await connectionsOf(after.username)).toBeGreaterThan(0), PATIENCE)
    await revoked(before)
    const overlap = (performance.now() - since) / 1_000
    await age(2 * HOUR)
    const third = await rotatedFrom(after)
    await revoked(after)
    const perSecond = await traffic.stop()
    expect(third).toMatchObject({ username: before.username })
    expect(third.password).not.toBe(before.password)
    expect(traffic.seen.failed.slice(0, 3)).toEqual([])
    expect(traffic.seen.answered).toBeGreaterThan(300)
    const said = [
      ...operator.lines,
      ...runtime.lines.map((line) => JSON.stringify(line)),
      await kubectl(['get', 'events,shards,tenants', '-n', namespace, '-o', 'json']),
    ]
    for (const { password } of [before, after, third]) expect(said.filter((text) => text.includes(password))).toEqual([])
    const reasons = async () => (await get('events')).items.map((event: { reason: string }) => event.reason)
    await vi.waitFor(
      async () => expect(await reasons()).toEqual(expect.arrayContaining(['CredentialsRotated', 'OldLoginRevoked'])),
      PATIENCE,
    )
    printFigure(
      `OP-21 (${it.kind}): 2 rotations under ${Math.round(perSecond)} requests/s: ${traffic.seen.failed.length} of ${traffic.seen.answered} failed; overlap ${overlap.toFixed(1)} s (the minute cut short)`,
    )
  })

  test('OP-21: a runtime that nobody asks lets the old login go by itself', async () => {
    const before = await credentials()
    await age(2 * HOUR)
    await rotatedFrom(before)
    await lookAtTenant()
    await vi.waitFor(async () => expect(await connectionsOf(before.username)).toBe(0), PATIENCE)
    await revoked(before)
  })

  test('OP-21: connections that stay on the old login are ended when it has been replaced for an hour', async () => {
    const before = await credentials()
    const { host, port } = inject('postgres')
    const clinging = new pg.Client({ host, port, database: it.into, user: before.username, password: before.password })
    clinging.on('error', () => {})
    await clinging.connect()
    const ended = new Promise((resolve) => clinging.once('end', resolve))
    await age(2 * HOUR)
    await rotatedFrom(before)
    await age(59 * 60_000)
    await vi.waitFor(async () => expect((await get(it.kind, it.name)).metadata.labels.touched).toBe(String(touches)), PATIENCE)
    expect(await knock(before)).toBe('in')
    await age(HOUR - 1)
    await ended
    expect(await knock(before)).toMatch(/^28/)
    expect(await memberships(before.username)).toEqual([{ admin: true, inherit: false }])
  })

  /** How the admin login holds a role: what it took to end connections it has given back. */
  async function memberships(role: string): Promise<unknown[]> {
    const text = `SELECT admin_option AS admin, inherit_option AS inherit FROM pg_auth_members
    WHERE roleid = $1::regrole AND member = $2::regrole`
    return (await superuser.query(text, [role, inject('postgres').adminUser])).rows
  }

  const isSecretPatch = ({ method, path }: ProxiedCall) => method === 'PATCH' && path.endsWith(`/secrets/${CREDENTIALS_SECRET}`)

  /** Resolves when the call that breaks has come in. */
  async function broken(fault: Fault): Promise<void> {
    using rule = proxy.fail(isSecretPatch, fault)
    await vi.waitFor(() => expect(rule.hits()).toBeGreaterThan(0), PATIENCE)
    await operator.kill()
  }

  /** Kills operator and backend while a statement on the role waits for a lock: nothing of it has happened. */
  async function interrupted(role: string, provoke: () => Promise<void>): Promise<void> {
    const locker = new pg.Client({ connectionString: inject('postgres').superuserUrl })
    await locker.connect()
    await locker.query('BEGIN')
    await locker.query('SELECT FROM pg_authid WHERE rolname = $1 FOR UPDATE', [role])
    await provoke()
    await vi.waitFor(async () => {
      const waiting = "FROM pg_stat_activity WHERE usename = $1 AND datname = $2 AND wait_event_type = 'Lock'"
      const whose = [inject('postgres').adminUser, database]
      expect((await superuser.query(`SELECT ${waiting}`, whose)).rowCount).toBeGreaterThan(0)
      await operator.kill()
      await superuser.query(`SELECT pg_terminate_backend(pid) ${waiting}`, whose)
    }, PATIENCE)
    await locker.end()
  }

  const spareOf = ({ username }: Credentials) => (username === it.logins[0] ? it.logins[1] : it.logins[0])

  const points: [point: string, reach: (before: Credentials) => Promise<unknown>][] = [
    ['while the other login is made', (before) => interrupted(spareOf(before), () => age(2 * HOUR))],
    ['before the Secret is written', () => Promise.all([broken({ kind: 'silence' }), age(2 * HOUR)])],
    ['after the Secret is written, unheard', () => Promise.all([broken({ kind: 'lose-answer' }), age(2 * HOUR)])],
    [
      'while the old login is revoked',
      async (before) => {
        await age(2 * HOUR)
        await rotatedFrom(before)
        await lookAtTenant()
        await vi.waitFor(async () => expect(await connectionsOf(before.username)).toBe(0), PATIENCE)
        await interrupted(before.username, () => age(61_000))
      },
    ],
  ]

  test.each(points)('OP-21: an operator that is killed %s is replaced by one that completes the rotation', async (point, reach) => {
    const traffic = startTraffic(runtime.url, it.token)
    const before = await credentials()
    await reach(before)
    expect(await knock(await credentials())).toBe('in')
    // A dead holder is waited for as long as its Lease lasts, which is not what this is about.
    await kubectl(['delete', 'lease', '--all', '-n', namespace])
    const since = performance.now()
    operator = await start()
    const after = await rotatedFrom(before)
    expect(await knock(after)).toBe('in')
    const recovery = (performance.now() - since) / 1_000
    await revoked(before)
    await traffic.stop()
    expect(traffic.seen.failed.slice(0, 3)).toEqual([])
    expect(traffic.seen.answered).toBeGreaterThan(100)
    printFigure(
      `OP-21 (${it.kind}): killed ${point}: complete after ${recovery.toFixed(1)} s, ${traffic.seen.failed.length} of ${traffic.seen.answered} failed`,
    )
  })
})

test('OP-16: what the second login of a tenant needs is given back, and what it may not have is taken away', async () => {
  await take({ kind: 'tenant', name: 'own', tenant: 'own' })
  const [role, second] = it.logins
  const before = await credentials()
  if (before.username !== second) {
    await age(2 * HOUR)
    await rotatedFrom(before)
  }
  const admin = new pg.Client({ connectionString: inject('postgres').adminUrl })
  await admin.connect()
  const held = async () => {
    const sql = `SELECT pg_has_role($2, $1, 'SET') AS acts, rolcreatedb AS makes, rolconfig @> ARRAY['role=' || $1] AS begins FROM pg_roles WHERE rolname = $2`
    expect((await admin.query(sql, [role, second])).rows).toEqual([{ acts: true, makes: false, begins: true }])
  }
  for (const change of [
    `REVOKE "${role}" FROM "${second}"; ALTER ROLE "${second}" CREATEDB`,
    `ALTER ROLE "${second}" RESET role`,
    `ALTER ROLE "${second}" SET role = none`,
    `ALTER ROLE "${second}" IN DATABASE "${it.into}" SET role = none`,
  ]) {
    await admin.query(change)
    await touch()
    await vi.waitFor(held, PATIENCE)
  }
  await admin.end()
  expect((await askForTasks()).status).toBe(200)
})

test('OP-16, PG-14: two logins of a tenant have its connections together, by halves, and the one that is left has all', async () => {
  await take({ kind: 'tenant', name: 'own', tenant: 'own' })
  const open = 'SELECT rolname AS name, rolconnlimit AS connections FROM pg_roles WHERE rolname = ANY ($1) AND rolcanlogin ORDER BY 1'
  const limits = async () => (await superuser.query(open, [it.logins])).rows
  const halves = it.logins.map((name) => ({ name, connections: 20 }))
  const before = await credentials()
  await age(2 * HOUR)
  const after = await rotatedFrom(before)
  expect(await limits()).toEqual(halves)
  for (const login of it.logins) {
    await superuser.query(`ALTER ROLE "${login}" CONNECTION LIMIT 40`)
    await touch()
    await vi.waitFor(async () => expect(await limits()).toEqual(halves), PATIENCE)
  }
  await revoked(before)
  await vi.waitFor(async () => expect(await limits()).toEqual([{ name: after.username, connections: 40 }]), PATIENCE)
})
