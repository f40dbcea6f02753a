import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { contractOf, holdToContract } from '../builders/conformance.ts'
import { type LocalPlatform, launchPlatform } from '../builders/platform.ts'
import { eventually } from './platform.ts'

let platform: LocalPlatform

beforeAll(async () => {
  platform = await launchPlatform()
})
afterAll(() => platform?.end())

async function kubectl(args: readonly string[], input = ''): Promise<string> {
  const env = await platform.env()
  const running = promisify(execFile)('kubectl', [...args], { env: { ...process.env, ...env } })
  running.child.stdin?.end(input)
  return (await running).stdout
}

const apply = (object: object) => kubectl(['apply', '-f', '-'], JSON.stringify(object))
const tenant = (name: string, spec: object) => ({
  apiVersion: 'tenantry.dev/v1alpha1',
  kind: 'Tenant',
  metadata: { name },
  spec: { shardRef: { name: 'shard-a' }, apiKeys: [{ name: 'main' }], ...spec },
})

/** Titles of a tenant's tasks, asked of the API with the tenant's key; with `title` after one more was made. */
async function tasks(name: string, title?: string): Promise<string[]> {
  const { TENANTRY_URL = '' } = await platform.env()
  if (contractOf(TENANTRY_URL) === undefined) await holdToContract(TENANTRY_URL)
  const token = await kubectl(['get', 'secret', `${name}-apikey-main`, '-o', 'jsonpath={.data.token}'])
  const headers = { 'x-api-key': Buffer.from(token, 'base64').toString(), 'content-type': 'application/json' }
  const url = new URL('/v1/tasks', TENANTRY_URL)
  if (title !== undefined) await fetch(url, { method: 'POST', headers, body: JSON.stringify({ title }) })
  const { items }: { items: { title: string }[] } = JSON.parse(await (await fetch(url, { headers })).text())
  return items.map((task) => task.title)
}

/** The UIDs that Shard shard-a has a record of, of Tenants by these names; kept or not. */
async function records(...names: string[]): Promise<{ name: string; uid: string; kept: boolean }[]> {
  const client = new pg.Client({ connectionString: (await platform.env()).SHARD_A_URL })
  await client.connect()
  const sql = `SELECT name, uid, retained_at IS NOT NULL AS kept FROM tenantry.tenants WHERE name = ANY ($1) ORDER BY name`
  return (await client.query(sql, [names]).finally(() => client.end())).rows
}

/** What is left of an object when the server's own part is taken off. */
const anew = ({
  apiVersion,
  kind,
  metadata: { name },
  spec,
}: {
  apiVersion: string
  kind: string
  metadata: { name: string }
  spec: object
}) => ({
  apiVersion,
  kind,
  metadata: { name },
  spec,
})

const operatorPid = async () =>
  JSON.parse(await platform.local('status', '--json')).find(({ name }: { name: string }) => name === 'operator').pid

test('OP-17: CRDs are deleted under a running operator and come back, then the namespace; what was to be kept is served again after all was installed anew', async () => {
  await apply(tenant('keeper', {}))
  await apply(tenant('goner', { deletionPolicy: 'Delete' }))
  await kubectl(['wait', '--for=condition=Ready', 'tenant', '--all', '--timeout=60s'])
  expect(await tasks('keeper', 'kept')).toEqual(['kept'])
  const pid = await operatorPid()
  const shards = JSON.parse(await kubectl(['get', 'shards', '-o', 'json']))
  const installation = JSON.parse(await kubectl(['get', 'configmap', 'tenantry-installation', '-o', 'json']))

  await expect(kubectl(['delete', 'namespace', 'tenantry'])).rejects.toThrow(/kubectl delete tenants,shards --all -n tenantry/)
  await kubectl(['delete', 'crd', 'tenants.tenantry.dev', '--timeout=60s'])
  expect(await records('keeper', 'goner')).toMatchObject([{ name: 'keeper', kept: true }])
  await kubectl(['delete', 'crd', 'shards.tenantry.dev', '--timeout=60s'])
  await kubectl(['apply', '-f', 'crds/'])
  await kubectl(['wait', '--for=condition=Established', 'crd/tenants.tenantry.dev', 'crd/shards.tenantry.dev', '--timeout=30s'])
  await eventually(() => apply({ ...shards, items: shards.items.map(anew) }))
  await apply(tenant('between', { deletionPolicy: 'Delete' }))
  await kubectl(['wait', '--for=condition=Ready', 'tenant/between', '--timeout=60s'])
  expect(await operatorPid()).toBe(pid)
  // The kind that others stand on goes first: it waits for them, and they are served meanwhile.
  await kubectl(['delete', 'crd', 'shards.tenantry.dev', '--wait=false'])
  const stalled = ['get', 'shard', 'shard-a', '-o', 'jsonpath={.status.conditions[?(@.type=="Stalled")].reason}']
  await eventually(async () => expect(await kubectl(stalled)).toBe('TenantsRemain'))
  expect(await tasks('between', 'served')).toEqual(['served'])
  await kubectl(['delete', 'crd', 'tenants.tenantry.dev', '--timeout=60s'])
  await kubectl(['wait', '--for=delete', 'crd/shards.tenantry.dev', '--timeout=60s'])
  expect(await records('between')).toEqual([])
  expect(await operatorPid()).toBe(pid)
  await eventually(() => kubectl(['delete', 'namespace', 'tenantry', '--timeout=60s']))

  const [kept] = await records('keeper')
  await kubectl(['create', 'namespace', 'tenantry'])
  await apply({ ...anew(installation), immutable: true, data: installation.data })
  await platform.local('down')
  await platform.local('up')
  await apply(tenant('heir', { adopt: kept?.uid }))
  await kubectl(['wait', '--for=condition=Ready', 'tenant/heir', '--timeout=60s'])
  expect(await tasks('heir')).toEqual(['kept'])
})
