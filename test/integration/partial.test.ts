import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Client as PostgresClient } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import type { Isolation } from '../../crds/tenant.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { tenantName } from '../../operator/postgres/names.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { createSubject, type Ground, OPERATIONS, type Operation, remove, settled } from '../builders/operations.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { type Subject, stateOf } from '../builders/tenant-state.ts'
import { startPostgresProxy } from '../faults/postgres-proxy.ts'

/** A Shard of its own behind a proxy of its own: what ends a backend here disturbs nobody in another lane. */
type Lane = AsyncDisposable & {
  ground: Ground
  shard: string
  /** Of the Shard's own databases those that count the DDL commands in them: its own, and the template of tenants'. */
  counting: { schema: string; database: string }
  statements: string[]
  /** Of the statements that pass, the backend of the one at this place is ended so many milliseconds after it was sent. */
  strike: { at: number; afterMs: number } | undefined
  struck: Promise<unknown>
}

const LANES = 6
const lanes: Lane[] = []
let namespace: string
let client: Client
let operator: RunningOperator
let superuser: PostgresClient

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  superuser = await connectAsSuperuser(inject('postgres'), 'postgres')
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  operator = await startOperator(namespace)
  lanes.push(...(await Promise.all(Array.from({ length: LANES }, (_, number) => openLane(`lane-${number}`)))))
})

afterAll(async () => {
  await operator?.stop()
  for (const lane of lanes) await lane[Symbol.asyncDispose]()
  await client?.close()
  await superuser?.end()
})

async function openLane(shard: string): Promise<Lane> {
  const database = `test_${randomBytes(4).toString('hex')}`
  const counting = { schema: database, database: `${database}_template` }
  const proxy = await startPostgresProxy(inject('postgres'), ({ text, pid }) => {
    lane.statements.push(text)
    if (lane.statements.length === lane.strike?.at) lane.struck = end(pid, lane.strike.afterMs)
    return { kind: 'pass' }
  })
  const lane: Lane = {
    ground: { client, namespace, database },
    ...{ shard, counting, statements: [], strike: undefined, struck: Promise.resolve() },
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  }
  const endpoint = { host: proxy.host, port: proxy.port, database }
  await applyAll(namespace, [shardManifest(shard, shardSpec(database, { endpoint, tls: { mode: 'disable' }, warmSchemas: 0 }))])
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', `shard/${shard}`, '--timeout=60s'])
  for (const name of Object.values(counting)) await onDatabase(name, CUTTER)
  return lane
}

/** Does the work in all lanes at once, one piece after the other in each. */
async function inLanes<T>(pieces: readonly T[], work: (lane: Lane, piece: T) => Promise<void>): Promise<void> {
  const queue = [...pieces]
  const workOn = async (lane: Lane) => {
    for (let piece = queue.shift(); piece !== undefined; piece = queue.shift()) await work(lane, piece)
  }
  await Promise.all(lanes.map(workOn)).finally(() => queue.splice(0))
}

async function end(pid: number, afterMs: number): Promise<void> {
  await pause(afterMs)
  await superuser.query('SELECT pg_terminate_backend($1)', [pid])
}

async function onDatabase(name: string, text: string): Promise<Record<string, unknown>[]> {
  const client = await connectAsSuperuser(inject('postgres'), name)
  return client
    .query(text)
    .then(({ rows }) => rows)
    .finally(() => client.end())
}

// Ends the backend that has executed so many DDL commands, in the middle of its transaction. The count survives a rollback.
const CUTTER = `CREATE SCHEMA cutter;
CREATE SEQUENCE cutter.commands;
CREATE TABLE cutter.cut (at integer);
INSERT INTO cutter.cut VALUES (0);
CREATE FUNCTION cutter.count() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('cutter.commands') = (SELECT at FROM cutter.cut) THEN
    PERFORM pg_terminate_backend(pg_backend_pid());
    PERFORM pg_sleep(10);
  END IF;
END $$;
GRANT USAGE ON SCHEMA cutter TO ${inject('postgres').adminUser};
GRANT ALL ON SEQUENCE cutter.commands TO ${inject('postgres').adminUser};
GRANT SELECT ON cutter.cut TO ${inject('postgres').adminUser};
CREATE EVENT TRIGGER cutter ON ddl_command_end EXECUTE FUNCTION cutter.count();`

const cutAt = (name: string, at: number) => onDatabase(name, `UPDATE cutter.cut SET at = ${at}; SELECT setval('cutter.commands', 1, false)`)
const commandsIn = async (name: string) =>
  Number((await onDatabase(name, 'SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END AS count FROM cutter.commands'))[0]?.count ?? 0)

/** Does the operation, with what `arm` has prepared just before it; gives the Tenant when the operator has done with it. */
async function run(lane: Lane, isolation: Isolation, operation: Operation, arm: () => unknown = () => undefined): Promise<Subject> {
  const create = () => createSubject(lane.ground, isolation, operation, undefined, lane.shard)
  const standing = operation.exists ? await create() : undefined
  if (standing !== undefined) await settled(standing)
  Object.assign(lane, { statements: [], strike: undefined, struck: Promise.resolve() })
  await arm()
  const subject = standing ?? (await create())
  await operation.begin(subject)
  await settled(subject)
  await lane.struck
  lane.strike = undefined
  return subject
}

/** The state of a tenant without the names of its lane. */
async function stateIn({ shard, ground }: Lane, subject: Subject): Promise<unknown> {
  return JSON.parse(
    JSON.stringify(await stateOf(subject))
      .replaceAll(ground.database, '<database>')
      .replaceAll(shard, '<shard>'),
  )
}

function leave(subjects: readonly Subject[]): Promise<void> {
  return inLanes(subjects, async (_, subject) => {
    await remove(subject)
    expect(await settled(subject)).toBe('gone')
  })
}

async function undisturbed(isolation: Isolation, operation: Operation, arm: (lane: Lane) => unknown = () => undefined) {
  const [lane] = lanes
  if (lane === undefined) throw new Error('there is no lane')
  const reference = await run(lane, isolation, operation, () => arm(lane))
  return { lane, reference, state: await stateIn(lane, reference) }
}

const CASES = ISOLATIONS.flatMap((isolation) => OPERATIONS.map((operation) => ({ isolation, operation, what: operation.what })))

test.for(CASES)('OP-03: the backend ends while a statement runs: $isolation: $what', async ({ isolation, operation }) => {
  const { lane, reference, state } = await undisturbed(isolation, operation)
  const sent = [...lane.statements]
  const subjects = [reference]
  let passed = 0
  // Databases are copied and removed outside of transactions, and it takes a while.
  const times = (text: string) => (/^(CREATE|DROP) DATABASE/.test(text) ? [0, 15] : [0])
  const points = sent.flatMap((text, index) => times(text).map((afterMs) => ({ text, at: index + 1, afterMs })))
  await inLanes(points, async (lane, { text, at, afterMs }) => {
    const subject = await run(lane, isolation, operation, () => {
      lane.strike = { at, afterMs }
    })
    expect(await stateIn(lane, subject), `${afterMs} ms into ${text.slice(0, 200)}`).toEqual(state)
    subjects.push(subject)
    // The reference may have been looked at once more than the others.
    if (lane.statements.length >= at) passed += 1
  })
  expect(passed).toBeGreaterThan(0)
  printFigure(`OP-03: ${isolation}, ${operation.what}: ${passed} points passed, of up to ${sent.length} statements`)
  await leave(subjects)
})

const INSIDE = [
  { isolation: 'schema', operation: OPERATIONS[0] },
  { isolation: 'schema', operation: OPERATIONS[3] },
  { isolation: 'database', operation: OPERATIONS[0] },
] as const
const EACH = 'OP-03: the backend ends after each DDL command of a transaction: $isolation: $operation.what'

test.for(INSIDE)(EACH, { timeout: 180_000 }, async ({ isolation, operation }) => {
  if (operation === undefined) throw new Error('no operation')
  const cutIn = (lane: Lane, at: number) => () => cutAt(lane.counting[isolation], at)
  const counted = (lane: Lane, { uid }: Subject) => commandsIn(isolation === 'database' ? tenantName(uid) : lane.counting.schema)
  const { lane, reference, state } = await undisturbed(isolation, operation, (first) => cutIn(first, 0)())
  const commands = await counted(lane, reference)
  expect(commands).toBeGreaterThan(0)
  const subjects = [reference]
  const points = Array.from({ length: commands }, (_, index) => index + 1)
  await inLanes(points, async (lane, at) => {
    const subject = await run(lane, isolation, operation, cutIn(lane, at))
    expect(await stateIn(lane, subject), `after command ${at}`).toEqual(state)
    expect(await counted(lane, subject), `there was no command ${at}`).toBeGreaterThanOrEqual(at)
    subjects.push(subject)
  })
  for (const lane of lanes) await cutIn(lane, 0)()
  printFigure(`OP-03: ${isolation}, ${operation.what}: ended after each of ${commands} DDL commands, ${subjects.length - 1} passed`)
  await leave(subjects)
})
