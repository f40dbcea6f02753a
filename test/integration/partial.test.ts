import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Client as PostgresClient } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import type { Isolation } from '../../crds/tenant.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { createSubject, type Ground, OPERATIONS, type Operation, remove, settled } from '../builders/operations.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { type Subject, stateOf } from '../builders/tenant-state.ts'
import { type PostgresProxy, startPostgresProxy } from '../faults/postgres-proxy.ts'

const database = `test_${randomBytes(4).toString('hex')}`
const template = `${database}_template`
let ground: Ground
let client: Client
let proxy: PostgresProxy
let operator: RunningOperator
let superuser: PostgresClient

/** Of the statements that pass, the backend of the one at this place is ended so many milliseconds after it was sent. */
let strike: { at: number; afterMs: number } | undefined
let statements: string[] = []
let struck: Promise<unknown> = Promise.resolve()

beforeAll(async () => {
  await installCrds()
  const namespace = await createNamespace()
  await applyShardSecrets(namespace)
  superuser = await connectAsSuperuser(inject('postgres'), 'postgres')
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  ground = { client, namespace, database }
  proxy = await startPostgresProxy(inject('postgres'), ({ text, pid }) => {
    statements.push(text)
    if (statements.length === strike?.at) struck = end(pid, strike.afterMs)
    return { kind: 'pass' }
  })
  const endpoint = { host: proxy.host, port: proxy.port, database }
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database, { endpoint, tls: { mode: 'disable' }, warmSchemas: 0 }))])
  operator = await startOperator(namespace)
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'shard/shard-a', '--timeout=60s'])
  for (const name of [database, template]) await onDatabase(name, CUTTER)
})

afterAll(async () => {
  await operator?.stop()
  await proxy?.[Symbol.asyncDispose]()
  await client?.close()
  await superuser?.end()
})

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

async function run(isolation: Isolation, operation: Operation, cut?: typeof strike): Promise<Subject> {
  const subject = await createSubject(ground, isolation, operation)
  if (operation.exists) await settled(subject)
  statements = []
  strike = cut
  struck = Promise.resolve()
  await operation.begin(subject)
  await settled(subject)
  await struck
  strike = undefined
  return subject
}

async function leave(subjects: readonly Subject[]): Promise<void> {
  for (const subject of subjects) await remove(subject)
  for (const subject of subjects) expect(await settled(subject)).toBe('gone')
}

const CASES = ISOLATIONS.flatMap((isolation) => OPERATIONS.map((operation) => ({ isolation, operation, what: operation.what })))

test.for(CASES)('OP-03: the backend ends while a statement runs: $isolation: $what', async ({ isolation, operation }) => {
  const reference = await run(isolation, operation)
  const state = await stateOf(reference)
  const sent = [...statements]
  const subjects = [reference]
  let points = 0
  for (const [index, text] of sent.entries()) {
    // Databases are copied and removed outside of transactions, and it takes a while.
    for (const afterMs of /^(CREATE|DROP) DATABASE/.test(text) ? [0, 15] : [0]) {
      const subject = await run(isolation, operation, { at: index + 1, afterMs })
      expect(await stateOf(subject), `${afterMs} ms into ${text.slice(0, 200)}`).toEqual(state)
      subjects.push(subject)
      points += 1
    }
  }
  printFigure(`OP-03: ${isolation}, ${operation.what}: ${points} points in ${sent.length} statements passed`)
  await leave(subjects)
})

// Every migration adds commands, and each takes a tenant of its own: two tests share them.
const PARTS = [1, 2]
const INSIDE = [
  { isolation: 'schema', operation: OPERATIONS[0], counted: database },
  { isolation: 'schema', operation: OPERATIONS[3], counted: database },
  { isolation: 'database', operation: OPERATIONS[0], counted: template },
] as const
const INSIDE_PARTS = INSIDE.flatMap((one) => PARTS.map((part) => ({ ...one, part })))

test.for(INSIDE_PARTS)(
  'OP-03: the backend ends after each DDL command of a transaction: $isolation: $operation.what, part $part',
  async (one) => {
    const { isolation, operation, counted, part } = one
    if (operation === undefined) throw new Error('no operation')
    await cutAt(counted, 0)
    const reference = await run(isolation, operation)
    const state = await stateOf(reference)
    const own = `t_${reference.uid.replaceAll('-', '')}`
    const commands = await commandsIn(counted === template ? own : counted)
    expect(commands).toBeGreaterThan(0)
    const subjects = [reference]
    for (let at = part; at <= commands; at += PARTS.length) {
      await cutAt(counted, at)
      const subject = await run(isolation, operation)
      expect(await stateOf(subject), `after command ${at}`).toEqual(state)
      subjects.push(subject)
    }
    await cutAt(counted, 0)
    printFigure(
      `OP-03: ${isolation}, ${operation.what}: ended after ${subjects.length - 1} of ${commands} DDL commands, ${subjects.length - 1} passed`,
    )
    await leave(subjects)
  },
)
