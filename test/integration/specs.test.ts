import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import type { Client as Connection } from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { type ApiError, isStatus } from '../../operator/kubernetes/api-error.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { type AnyObject, type KubeObject, type Resource, SHARDS, TENANTS } from '../../operator/kubernetes/object.ts'
import { tenantName } from '../../operator/postgres/names.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectTo } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'

const PATIENCE = { timeout: 60_000, interval: 200 }
const CASES = 200
const database = `test_${randomBytes(4).toString('hex')}`
let namespace: string
let operator: RunningOperator
let client: Client
let admin: Connection

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database, { warmSchemas: 0 }))])
  operator = await startOperator(namespace)
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'shard/shard-a', '--timeout=40s'])
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  admin = await connectTo(inject('postgres'), database)
})

afterAll(async () => {
  await admin?.end()
  client?.close()
  await operator?.stop()
})

/** Words that somebody with ill will, or a slip of the hand, puts where a name, a number or a list is asked for. */
const word = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    '-',
    'a'.repeat(40),
    'a'.repeat(41),
    'a'.repeat(63),
    'a'.repeat(64),
    'a'.repeat(254),
    'ä'.repeat(32),
    '𝓐',
    '\u0000',
    '\u202e',
  ),
  fc.constantFrom(
    "a'; DROP SCHEMA tenantry CASCADE; --",
    'a"; --',
    '$$',
    '$1',
    ':role',
    '%I',
    '../../etc',
    'pg_catalog',
    'none',
    'public',
    '{{.}}',
  ),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
)
const number = fc.constantFrom(-1, 0, 1, 65_535, 65_536, 2 ** 31, 2 ** 53, 1e300, 1.5)
const junk: fc.Arbitrary<unknown> = fc.oneof(word, number, fc.constantFrom(null, true, false, [], {}, ['a'], { a: { b: 1 } }))
const rarely = <T>(wrong: fc.Arbitrary<T>, right: unknown) =>
  fc.oneof({ weight: 1, arbitrary: wrong }, { weight: 3, arbitrary: fc.constant(right) })
const name = fc.integer({ min: 0, max: 2 ** 30 }).map((number) => `c-${number.toString(36)}`)

/** One field of the spec, given in turn what is right and what is not. */
function fieldsOf(right: Record<string, unknown>, odd: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Record<string, unknown>> {
  return fc
    .tuple(fc.constantFrom(...Object.keys(odd)), fc.boolean(), fc.infiniteStream(junk))
    .chain(([field, isTyped, junks]) =>
      (isTyped ? (odd[field] ?? junk) : fc.constant(junks.next().value)).map((value) => ({ ...right, [field]: value })),
    )
}

const tenants = fieldsOf(
  { shardRef: { name: 'shard-a' }, isolation: 'row' },
  {
    displayName: word,
    isolation: fc.constantFrom('row', 'schema', 'Row', 'server', ''),
    shardRef: fc.record({ name: word }),
    hosts: fc.array(fc.oneof(word, fc.domain()), { maxLength: 34 }),
    apiKeys: fc.array(
      fc.record(
        { name: word, expiresAt: word, scopes: fc.array(fc.constantFrom('tasks:read', 'x')) },
        { requiredKeys: ['name'], noNullPrototype: true },
      ),
      { maxLength: 34 },
    ),
    jwt: fc.record({ issuer: word, audiences: fc.array(word), jwksUri: fc.oneof(word, fc.webUrl({ validSchemes: ['http', 'https'] })) }),
    suspended: fc.boolean(),
    subscriptionEndsAt: fc.oneof(
      word,
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    ),
    adopt: fc.oneof(word, fc.uuid()),
    deletionPolicy: fc.constantFrom('Retain', 'Delete', 'Drop', ''),
    deletionProtection: fc.constant(false),
    placement: fc.record({ shardSelector: fc.record({ matchLabels: fc.dictionary(word, word, { maxKeys: 3, noNullPrototype: true }) }) }),
    unheardOf: junk,
  },
)

const endpoint = (changes: object) => ({ host: '127.0.0.1', port: 1, ...changes })
const shards = fieldsOf(
  { endpoint: endpoint({}), adminSecretRef: { name: 'postgres-admin' }, tls: { mode: 'disable' } },
  {
    endpoint: fc.oneof(
      word.map((host) => endpoint({ host })),
      number.map((port) => endpoint({ port })),
      word.map((one) => endpoint({ database: one })),
    ),
    adminSecretRef: fc.record({ name: word }),
    tls: fc.record({ mode: fc.constantFrom('disable', 'verify-full', 'none'), caSecretRef: fc.record({ name: word, key: word }) }),
    capacity: fc.record({ tenants: number }),
    warmSchemas: number,
    isolations: fc.array(fc.constantFrom('row', 'schema', 'database', 'x')),
    credentials: fc.record({ rotateAfter: fc.oneof(word, fc.constantFrom('1m', '59s', '30d', '999999h')) }),
    schedulable: junk,
    unheardOf: junk,
  },
)

type Case = { resource: Resource<KubeObject<unknown, { conditions?: Condition[]; observedGeneration?: number }>>; manifest: AnyObject }
type Condition = { type: string; reason: string; message: string }

function caseOf(resource: Resource, spec: fc.Arbitrary<unknown>): fc.Arbitrary<Case> {
  return fc.tuple(rarely(word, undefined), name, rarely(junk, undefined), spec).map(([odd, usual, instead, wanted]) => {
    const manifest = { metadata: { name: odd ?? usual }, spec: instead === undefined ? wanted : instead }
    return { resource, manifest } as unknown as Case
  })
}

/** The messages that our own rules give; whatever else is refused, the schema has refused. */
const RULES = ['tenant', 'shard'].flatMap((kind) =>
  [...readFileSync(`crds/${kind}.yaml`, 'utf8').matchAll(/message: '(.*)'$/gm)].map(([, text = '']) => text),
)

function layerOf({ message, status }: ApiError): string {
  if (status === 400) return 'decoder'
  return RULES.some((rule) => message.includes(rule)) ? 'rule' : 'schema'
}

async function apply({ resource, manifest }: Case): Promise<string> {
  try {
    await client.create(resource, namespace, manifest as never)
    return 'accepted'
  } catch (error) {
    if (isStatus(error, 409)) return 'taken'
    if (!isStatus(error, 422) && !isStatus(error, 400)) throw new Error(`${JSON.stringify(manifest)}: ${error}`, { cause: error })
    // A refusal says which field is meant.
    expect(error.message).toMatch(/metadata|spec|name|json|decod|strict/i)
    return layerOf(error)
  }
}

/** Accepted, so looked at: each says how it stands, of this generation and in a word of the closed list. */
async function settled(resource: Case['resource']): Promise<number> {
  const { items } = await client.list(resource, namespace)
  for (const { metadata, status } of items) {
    const ready = status?.conditions?.find(({ type }) => type === 'Ready')
    expect({ name: metadata.name, generation: status?.observedGeneration, ready }).toMatchObject({
      generation: metadata.generation,
      ready: { reason: expect.stringMatching(/^(?!InProgress)[A-Z]\w+$/), message: expect.stringMatching(/\w/) },
    })
  }
  return items.length
}

test('OP-13: illegal specs are refused with a clear message or reconciled, and no text of theirs becomes SQL', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  printFigure(`OP-13: seed ${seed}`)
  const half = { seed, numRuns: CASES / 2 }
  const cases = [...fc.sample(caseOf(TENANTS, tenants), half), ...fc.sample(caseOf(SHARDS, shards), half)]
  const counts: Record<string, number> = {}
  for (const one of cases) {
    const layer = await apply(one)
    counts[layer] = (counts[layer] ?? 0) + 1
  }
  await vi.waitFor(
    async () => expect((await settled(TENANTS as never)) + (await settled(SHARDS as never))).toBe((counts.accepted ?? 0) + 1),
    PATIENCE,
  )

  const made = (await client.list(TENANTS, namespace)).items
  const schemas = made
    .filter(({ spec, status }) => spec.isolation === 'schema' && status?.schema !== undefined)
    .map(({ metadata }) => tenantName(metadata.uid))
  const { rows } = await admin.query<{ name: string }>(
    `SELECT nspname::text AS name FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public|tenantry|tenantry_rows$)' AND nspname NOT IN
       (SELECT schema_name FROM tenantry.tenants WHERE namespace = '') ORDER BY nspname`,
  )
  expect(rows.map(({ name }) => name)).toEqual(schemas.sort())
  const texts = cases.flatMap(({ manifest }) => JSON.stringify(manifest).match(/"(?:\\.|[^"\\])*"/g) ?? []).map((text) => JSON.parse(text))
  const known = ['postgres', database, 'public', 'pg_catalog', 'postgres-admin']
  const named = await admin.query(
    'SELECT rolname FROM pg_roles WHERE rolname = ANY ($1) UNION ALL SELECT datname FROM pg_database WHERE datname = ANY ($1)',
    [texts.filter((text) => !known.includes(text) && !text.includes('\u0000'))],
  )
  expect(named.rows).toEqual([])

  const lines = operator.lines.map((line): { level: number; msg: string } => JSON.parse(line))
  const expected = new Set(['a Shard is not Ready'])
  expect(lines.filter(({ level, msg }) => level >= 40 && !expected.has(msg))).toEqual([])
  expect([operator.process.exitCode, (await fetch(`${operator.url}/health`)).status]).toEqual([null, 200])
  const { accepted = 0, rule = 0, schema = 0, decoder = 0 } = counts
  printFigure(
    `OP-13: ${cases.length} cases, crashes 0; refused by schema ${schema}, by rule ${rule}, by decoder ${decoder}; reconciled ${accepted}`,
  )
})
