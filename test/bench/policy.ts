import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, escapeIdentifier, escapeLiteral } from 'pg'
import { removeWithMe } from '../../config/local/guard.ts'
import { removePostgres, startPostgres } from '../../config/local/servers/postgres.ts'
import { ROWS_SCHEMA } from '../../operator/postgres/names.ts'
import { GetTask, ListTasks } from '../../runtime/features/tasks/queries.ts'
import { sendBundle } from '../../runtime/shards/bundle.ts'
import { PreparedStatements } from '../../runtime/shards/prepared.ts'
import type { Row, Statement } from '../../runtime/shards/statement.ts'
import { createDatabase, type TestDatabase } from '../builders/database.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import type { Bench, Rounds } from './figures.ts'

const TENANTS = 1_000
const TASKS_EACH = 1_000
const QUERIES = 5_000
const PEER = 'no policy'

type Turn = { tenant: string; statement: Statement }
/** Runs a query as the runtime does, under a role: the milliseconds it took, and what it found. */
type Side = (turn: Turn) => Promise<{ took: number; rows: Row[] }>

/** A page of a tenant's tasks, of a million in shared tables: the runtime's query under the tenants' role, and under one without policy. */
export const rlsList: Bench = {
  name: 'rls-cost',
  unit: 'ms (p95)',
  target: { atMost: 1.1, of: 'peer' },
  measure: (rounds) => measure(rounds, (tenant) => ListTasks.statement(tenantUid(tenant), { limit: 50 })),
}

/** The same of one task by its id. */
export const rlsById: Bench = {
  name: 'rls-cost-by-id',
  unit: 'ms (p95)',
  target: { atMost: 1.1, of: 'peer' },
  measure: (rounds) =>
    measure(rounds, (tenant, turn) => GetTask.statement(tenantUid(tenant), { id: uuid(tenant + 1, (turn * 31) % TASKS_EACH) })),
}

const uuid = (a: number, b: number) => `${a.toString(16).padStart(8, '0')}-0000-7000-8000-${b.toString(16).padStart(12, '0')}`
const tenantUid = (tenant: number) => uuid(0, tenant)

async function measure(count: number, query: (tenant: number, turn: number) => Statement): Promise<Rounds> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-bench-'))
  removeWithMe(folder)
  const postgres = await startPostgres({ folder, requireTls: false })
  const database = await createDatabase(postgres)
  const superuser = await connectAsSuperuser(postgres, database.name)
  const clients = [await open(database), await open(database)] as const
  try {
    const free = await makeFreeRole(superuser, database)
    await fill(superuser, database)
    const turns = Array.from({ length: QUERIES }, (_, turn): Turn => {
      const tenant = (turn * 389) % TENANTS
      return { tenant: tenantUid(tenant), statement: query(tenant, turn) }
    })
    return await compare(count, sideOf(clients[0], database.names.rows), sideOf(clients[1], free), turns)
  } finally {
    await Promise.all([superuser, ...clients].map((client) => client.end()))
    await database.drop()
    await postgres.stop()
    await removePostgres(folder)
    await rm(folder, { recursive: true, force: true })
  }
}

async function compare(count: number, ours: Side, peer: Side, turns: readonly Turn[]): Promise<Rounds> {
  const rounds: Rounds = { ours: [], limit: [], peers: { [PEER]: [] } }
  await inTurn(ours, peer, turns)
  for (let round = 0; round < count; round++) {
    const [policy, none] = await inTurn(ours, peer, turns)
    rounds.ours.push(quantile(policy, 0.95))
    rounds.peers[PEER]?.push(quantile(none, 0.95))
    rounds.limit.push(quantile(none, 0.5))
  }
  return rounds
}

// One query each, the first of the two in turn, so that what else the machine does hits both alike.
async function inTurn(ours: Side, peer: Side, turns: readonly Turn[]): Promise<[number[], number[]]> {
  const [policy, none]: [number[], number[]] = [[], []]
  for (const [index, turn] of turns.entries()) {
    const early = index % 2 === 0 ? await peer(turn) : undefined
    const mine = await ours(turn)
    const theirs = early ?? (await peer(turn))
    const [found, expected] = [mine.rows, theirs.rows].map((rows) => JSON.stringify(rows))
    if (found !== expected || mine.rows.length === 0) throw new Error(`the roles found different rows:\n${found}\n${expected}`)
    policy.push(mine.took)
    none.push(theirs.took)
  }
  return [policy, none]
}

function sideOf(client: Client, role: string): Side {
  const prepared = new PreparedStatements(100)
  const enter = "SELECT set_config('role', $1, true), set_config('app.tenant_id', $2, true)"
  return async ({ tenant, statement }) => {
    const begun = performance.now()
    const [, rows = []] = await sendBundle(client, prepared, [
      { key: 'enter', text: () => enter, values: [role, tenant] },
      { key: statement.name, text: () => statement.text(`${ROWS_SCHEMA}.`), values: statement.values },
    ])
    return { took: performance.now() - begun, rows }
  }
}

async function open({ endpoint, credentials }: TestDatabase): Promise<Client> {
  const { host, port, database } = endpoint
  const client = new Client({ host, port, database, user: credentials.username, password: credentials.password, pipeline: true })
  await client.connect()
  return client
}

/** A role that reads what the tenants' role reads, and which no policy holds. */
async function makeFreeRole(superuser: Client, { names }: TestDatabase): Promise<string> {
  const free = `${names.database}_free`
  await superuser.query(`CREATE ROLE ${free} NOLOGIN BYPASSRLS; GRANT ${free} TO ${escapeIdentifier(names.runtime)} WITH INHERIT FALSE, SET TRUE;
    GRANT USAGE ON SCHEMA tenantry, ${ROWS_SCHEMA} TO ${free}; GRANT SELECT ON ALL TABLES IN SCHEMA tenantry, ${ROWS_SCHEMA} TO ${free}`)
  return free
}

async function fill(superuser: Client, { names }: TestDatabase): Promise<void> {
  const role = escapeLiteral(names.rows)
  const tenant = "('00000000-0000-7000-8000-' || lpad(to_hex(t), 12, '0'))::uuid"
  await superuser.query(`
    INSERT INTO tenantry.tenants (uid, namespace, name, isolation, schema_name, role_name)
    SELECT ${tenant}, 'bench', t::text, 'row', '${ROWS_SCHEMA}', ${role} FROM generate_series(0, ${TENANTS - 1}) t;
    INSERT INTO tenantry.head (tenant, role, position, epoch) SELECT ${tenant}, ${role}, ${TASKS_EACH}, 1 FROM generate_series(0, ${TENANTS - 1}) t;
    INSERT INTO ${ROWS_SCHEMA}.tasks (tenant_id, id, title, description, priority, status, tags, version, position, created_at, updated_at)
    SELECT ${tenant}, (lpad(to_hex(t + 1), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'Water the plants',
           'All of them, also those behind the door', 'high', 'pending', '{garden,weekly}', 1, n + 1, now(), now()
    FROM generate_series(0, ${TASKS_EACH - 1}) n, generate_series(0, ${TENANTS - 1}) t`)
  await superuser.query('VACUUM ANALYZE')
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}
