import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, inject, test, vi } from 'vitest'
import { bucketDocument, CREDENTIALS_SECRET, formatRouting, ROUTING_BUCKETS, ROUTING_KEY, SHARDS_DOCUMENT } from '../../config/routing.ts'
import { clusterSource } from '../../runtime/routing/cluster.ts'
import { ClusterClient } from '../../runtime/routing/cluster-client.ts'
import { followRouting, type Routing } from '../../runtime/routing/routing.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { buildDocument, buildKey, buildRoute } from '../builders/routing.ts'
import { silent } from '../builders/runtime.ts'
import { startTcpProxy } from '../faults/tcp-proxy.ts'

let namespace: string
let folder: string
let tokenFile: string
const opened: Routing[] = []

beforeAll(async () => {
  namespace = await createNamespace()
  await kubectl(['create', 'serviceaccount', 'runtime', '-n', namespace])
  // What the runtime has in a real platform: these names, and nothing else.
  const documents = [SHARDS_DOCUMENT, ...Array.from({ length: ROUTING_BUCKETS }, (_, index) => bucketDocument(index))]
  await allow('configmaps', documents)
  await allow('secrets', [CREDENTIALS_SECRET])
  folder = await mkdtemp(join(tmpdir(), 'tenantry-token-'))
  tokenFile = join(folder, 'token')
  await writeFile(tokenFile, await kubectl(['create', 'token', 'runtime', '-n', namespace]))
})

afterEach(async () => {
  await Promise.all(opened.splice(0).map((routing) => routing.close()))
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

async function allow(resource: string, names: string[]): Promise<void> {
  const verbs = '--verb=get,list,watch'
  await kubectl([
    'create',
    'role',
    resource,
    '-n',
    namespace,
    verbs,
    `--resource=${resource}`,
    ...names.map((name) => `--resource-name=${name}`),
  ])
  await kubectl(['create', 'rolebinding', resource, '-n', namespace, `--role=${resource}`, `--serviceaccount=${namespace}:runtime`])
}

const accessTo = (url = inject('kubernetes').server) => ({ url, caFile: inject('kubernetes').caFile, tokenFile, namespace })

function open(url?: string): { routing: Routing; errors: string[] } {
  const errors: string[] = []
  const log = { ...silent, error: (_fields: object, message: string) => void errors.push(message) }
  const routing = followRouting(clusterSource(accessTo(url), log), log)
  opened.push(routing)
  return { routing, errors }
}

async function apply(kind: 'ConfigMap' | 'Secret', name: string, data: Record<string, string>): Promise<void> {
  const body = { apiVersion: 'v1', kind, metadata: { name, namespace }, ...(kind === 'Secret' ? { stringData: data } : { data }) }
  await kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], JSON.stringify(body))
}

const PATIENCE = { timeout: 15_000, interval: 20 }

test('documents that come, change and go bad are followed by watch; a bad one leaves the last good one', async () => {
  const { routing, errors } = open()
  await vi.waitFor(() => expect(routing.loaded()).toBe(true), PATIENCE)
  const { key } = buildKey()
  const route = buildRoute({ id: 'acme', keys: [key] })
  const bucket = bucketDocument(0)
  await apply('ConfigMap', bucket, { [ROUTING_KEY]: formatRouting(buildDocument([route])) })
  await apply('ConfigMap', SHARDS_DOCUMENT, {
    [ROUTING_KEY]: formatRouting(buildDocument([], { 'shard-a': { host: 'db', port: 5432, database: 'tenantry', tls: 'verify-full' } })),
  })
  await apply('Secret', CREDENTIALS_SECRET, { 'shard-a': JSON.stringify({ username: 'u', password: 'p' }) })
  await vi.waitFor(() => {
    expect(routing.table().byKey.get(key.prefix)?.[0]?.route.id).toBe('acme')
    expect(routing.table().shards.get('shard-a')?.credentials.username).toBe('u')
  }, PATIENCE)

  await apply('ConfigMap', bucket, { [ROUTING_KEY]: 'version: 1\ntenants: [{ id: acme }]\n' })
  await vi.waitFor(() => expect(errors.length).toBeGreaterThan(0), PATIENCE)
  expect(routing.table().byKey.get(key.prefix)?.[0]?.route.id).toBe('acme')
  await kubectl(['delete', 'configmap', bucket, '-n', namespace])
  await routing.look()
  expect(routing.table().byKey.get(key.prefix)?.[0]?.route.id).toBe('acme')
  await apply('ConfigMap', bucket, { [ROUTING_KEY]: formatRouting(buildDocument([])) })
  await vi.waitFor(() => expect(routing.table().byKey.size).toBe(0), PATIENCE)
  expect(routing.ageSeconds()).toBeLessThan(60)
})

test('a look finds what was written before it', async () => {
  const { routing } = open()
  const { key } = buildKey()
  const route = buildRoute({ id: 'looked-for', keys: [key] })
  await apply('ConfigMap', bucketDocument(0), { [ROUTING_KEY]: formatRouting(buildDocument([route])) })
  await routing.look()
  expect(routing.table().byId.get('looked-for')?.uid).toBe(route.uid)
})

test('an API server that cannot be reached leaves the process alive and the look failing', async () => {
  const { routing } = open('https://127.0.0.1:1')
  await expect(routing.look()).rejects.toThrow()
  expect([routing.loaded(), routing.table().byKey.size]).toEqual([false, 0])
})

test('a connection that is reset, or falls silent, is made anew, and what was missed is found', async () => {
  const proxy = await startTcpProxy({ host: '127.0.0.1', port: Number(new URL(inject('kubernetes').server).port) })
  const { routing } = open(`https://127.0.0.1:${proxy.port}`)
  const appears = async (id: string) => {
    const route = buildRoute({ id })
    await apply('ConfigMap', bucketDocument(0), { [ROUTING_KEY]: formatRouting(buildDocument([route])) })
    return () => expect(routing.table().byId.has(id)).toBe(true)
  }
  await vi.waitFor(await appears('before'), PATIENCE)
  proxy.reset()
  await vi.waitFor(await appears('after-reset'), PATIENCE)
  proxy.blackHole()
  const found = await appears('in-the-dark')
  proxy.mend()
  const begun = performance.now()
  await vi.waitFor(found, { timeout: 40_000, interval: 50 })
  printFigure(`routing: blind for ${Math.round((performance.now() - begun) / 100) / 10} s after the API server fell silent`)
  await routing.close()
  await proxy.close()
})

test('an answer that is complete before the process gets to it is read all the same', async () => {
  const client = new ClusterClient(accessTo(), () => undefined)
  await apply('ConfigMap', SHARDS_DOCUMENT, { [ROUTING_KEY]: formatRouting(buildDocument([])) })
  const signal = AbortSignal.timeout(60_000)
  const outcomes: string[] = []
  for (let round = 0; round < 200; round += 1) {
    const asked = Array.from({ length: 18 }, () => client.get('configmaps', SHARDS_DOCUMENT, signal))
    // As a process whose processor is taken away: head, body and end of all answers wait for it together.
    for (const after of [0, 1, 2, 3, 4]) setTimeout(() => busyFor(2 + (round % 4)), after)
    for (const one of await Promise.allSettled(asked)) outcomes.push(one.status === 'fulfilled' ? 'read' : String(one.reason))
  }
  await client.close()
  expect(outcomes.filter((outcome) => outcome !== 'read')).toEqual([])
})

function busyFor(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}
