import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, inject, vi } from 'vitest'
import { endChildWithMe } from '../../config/local/guard.ts'
import { bucketDocument, formatRouting, type Route, SHARDS_DOCUMENT } from '../../config/routing.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { kubectl } from './cluster.ts'
import { holdToContract } from './conformance.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { buildDocument, buildKey } from './routing.ts'
import { applyAll } from './shard.ts'

/** A tenant that is provisioned and routed, and the key that speaks for it. */
export type RoutedTenant = { tenant: TenantContext; token: string }

/** A Shard's database and the routing folders that lead to it, for runtimes as child processes. */
export type World = {
  database: TestDatabase
  documents: string
  credentials: string
  /** Provisions and routes one more tenant, with a schema unless `changes` say otherwise. Its key has these scopes, or those of a key that says nothing of scopes. */
  addTenant: (id: string, changes?: Partial<Route>, scopes?: Route['keys'][number]['scopes']) => Promise<RoutedTenant>
  /** Routes a tenant otherwise. */
  change: (id: string, changes: Partial<Route>) => Promise<void>
  /** Writes a routing document as it stands, as a whole. */
  write: (name: string, text: string) => Promise<void>
  remove: () => Promise<void>
}

/** A runtime that runs. */
export type RunningRuntime = {
  process: ChildProcess
  url: string
  metricsUrl: string
  /** Every line of its log. */
  lines: Record<string, unknown>[]
  /** Resolves with the exit code. */
  stopped: Promise<number | null>
  /** SIGTERM; resolves when it is gone. */
  stop: () => Promise<number | null>
}

/** Makes a database on the shared server, and folders with its routing. */
export async function createWorld(): Promise<World> {
  const database = await createDatabase(inject('postgres'))
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-routing-'))
  const documents = join(folder, 'documents')
  const credentials = join(folder, 'credentials')
  await Promise.all([mkdir(documents), mkdir(credentials)])
  const routes: Route[] = []
  const write = async (name: string, text: string): Promise<void> => {
    // A file that is half written would be a fault of the test's making.
    await writeFile(join(folder, name), text)
    await rename(join(folder, name), join(documents, `${name}.yaml`))
  }
  const publish = () => write(bucketDocument(0), formatRouting(buildDocument(routes)))
  await writeFile(join(credentials, 'shard-a.json'), JSON.stringify(database.credentials))
  await write(SHARDS_DOCUMENT, formatRouting(buildDocument([], { 'shard-a': database.endpoint })))
  return {
    database,
    documents,
    credentials,
    write,
    addTenant: async (id, changes = {}, scopes) => {
      const tenant = await database.tenant(id, changes.isolation)
      const login = database.login(tenant.route.role)
      if (login !== undefined) await writeFile(join(credentials, `${tenant.route.role}.json`), JSON.stringify(login))
      const { token, key } = buildKey()
      routes.push({ ...tenant.route, keys: [scopes === undefined ? key : { ...key, scopes }], ...changes })
      await publish()
      return { tenant, token }
    },
    change: async (id, changes) => {
      const index = routes.findIndex((route) => route.id === id)
      routes[index] = { ...routes[index], ...changes } as Route
      await publish()
    },
    remove: async () => {
      await database.drop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Starts runtime/main.ts on free ports and waits until it listens. Redis and NATS are used when `environment` names them. */
export function startRuntime(world: World, environment: Record<string, string> = {}): Promise<RunningRuntime> {
  return spawnRuntime({ TENANTRY_ROUTING_FOLDER: world.documents, TENANTRY_CREDENTIALS_FOLDER: world.credentials, ...environment })
}

/** The same, and waits until it says that requests may be sent to it. */
export async function startReadyRuntime(world: World, environment?: Record<string, string>): Promise<RunningRuntime> {
  const runtime = await startRuntime(world, environment)
  await vi.waitFor(async () => expect((await fetch(`${runtime.url}/health/ready`)).status).toBe(200), { timeout: 10_000, interval: 50 })
  return runtime
}

/** Starts runtime/main.ts on the routing config that an operator writes into a namespace, under an account that may read it; any number of them. */
export async function startClusterRuntime(namespace: string, environment: Record<string, string> = {}): Promise<RunningRuntime> {
  const { server, caFile } = inject('kubernetes')
  const account = ['-n', namespace]
  const subjects = [{ kind: 'ServiceAccount', name: 'runtime', namespace }]
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'runtime' }
  const rules = [{ apiGroups: [''], resources: ['configmaps', 'secrets'], verbs: ['get', 'list', 'watch'] }]
  const metadata = { name: 'runtime' }
  await applyAll(namespace, [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata, rules },
    { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata, roleRef, subjects },
  ])
  const tokenFile = join(await mkdtemp(join(tmpdir(), 'tenantry-token-')), 'token')
  await writeFile(tokenFile, await kubectl(['create', 'token', 'runtime', ...account]))
  const runtime = await spawnRuntime({
    TENANTRY_KUBERNETES_URL: server,
    TENANTRY_KUBERNETES_CA_FILE: caFile,
    TENANTRY_KUBERNETES_TOKEN_FILE: tokenFile,
    TENANTRY_NAMESPACE: namespace,
    ...environment,
  })
  void runtime.stopped.then(() => rm(dirname(tokenFile), { recursive: true, force: true }))
  return runtime
}

async function spawnRuntime(environment: Record<string, string>): Promise<RunningRuntime> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TENANTRY_'))
  const child = spawn(process.execPath, ['runtime/main.ts'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...Object.fromEntries(inherited),
      TENANTRY_PORT: '0',
      TENANTRY_METRICS_PORT: '0',
      TENANTRY_DRAIN_WAIT_MS: '300',
      ...(environment.TENANTRY_NATS_URL === undefined ? { TENANTRY_EVENTS: 'off' } : {}),
      ...environment,
    },
  })
  void endChildWithMe(child)
  const stopped = once(child, 'exit').then(([code]) => (typeof code === 'number' ? code : null))
  const { lines, ports } = await portsOf(child, stopped)
  const url = `http://127.0.0.1:${ports.listening}`
  await holdToContract(url)
  return {
    process: child,
    url,
    metricsUrl: `http://127.0.0.1:${ports.metrics}/metrics`,
    lines,
    stopped,
    stop: () => {
      child.kill('SIGTERM')
      return stopped
    },
  }
}

type Ports = { listening: number; metrics: number }

async function portsOf(child: ChildProcess, stopped: Promise<unknown>): Promise<{ lines: Record<string, unknown>[]; ports: Ports }> {
  const lines: Record<string, unknown>[] = []
  const { stdout } = child
  if (stdout === null) throw new Error('the runtime has no standard output')
  const listening = new Promise<number>((resolve) => {
    createInterface({ input: stdout }).on('line', (line) => {
      const fields: Record<string, unknown> = JSON.parse(line)
      lines.push(fields)
      if (fields.msg === 'listening') resolve(Number(fields.port))
    })
  })
  const failed = stopped.then((code) => {
    throw new Error(`the runtime ended with ${code}: ${JSON.stringify(lines.at(-1))}`)
  })
  const port = await Promise.race([listening, failed])
  return { lines, ports: { listening: port, metrics: Number(lines.find((line) => line.msg === 'metrics')?.port) } }
}
