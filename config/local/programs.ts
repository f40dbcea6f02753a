import { createHash } from 'node:crypto'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { kubeconfigWithToken } from './kubeconfig.ts'
import { type Layout, NAMESPACE, type ReplicaName, wantedPort } from './layout.ts'
import { ensureRunning, type Launch, type Server } from './processes.ts'
import type { ControlPlane } from './servers/control-plane.ts'
import { HOST, portOf } from './servers/server.ts'
import type { Token } from './tokens.ts'

// Both programs read these folders; a change in one of them is a change of the program.
const SHARED_SOURCES = ['config/routing.ts', 'config/migrations', 'package-lock.json']

// DDL over more connections than there are processors only takes longer: Postgres waits for its own locks (`make bench ONLY=reconcile`).
const MOST_CONNECTIONS = 4

/** What Node is started with: a smaller young generation holds less at rest (`make bench ONLY=memory`). */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=8']

/** A program that runs, with the address of its metrics. */
export type Program = Server & { metricsUrl: string }

/** A replica of the runtime, with the address of its API. */
export type Replica = Program & { url: string }

/** What a replica talks to. */
export type Backends = { controlPlane: ControlPlane; token: Token; redisUrl: string; natsUrl: string }

/** Starts the operator as its service account. Throws StartError. */
export async function startOperator(layout: Layout, controlPlane: ControlPlane, token: Token, signal: AbortSignal): Promise<Program> {
  const folder = layout.folderOf('operator')
  const metricsPort = await portOf({ folder }, 'operator', wantedPort('operator'))
  const kubeconfig = join(folder, 'kubeconfig')
  await mkdir(folder, { recursive: true })
  const { server, ca } = controlPlane
  await writeFile(kubeconfig, kubeconfigWithToken({ server, ca, namespace: NAMESPACE }, token.value), { mode: 0o600 })
  const env = {
    KUBECONFIG: kubeconfig,
    TENANTRY_NAMESPACE: NAMESPACE,
    TENANTRY_METRICS_PORT: String(metricsPort),
    TENANTRY_CONNECTIONS_PER_SHARD: String(Math.min(MOST_CONNECTIONS, availableParallelism())),
  }
  const metricsUrl = `http://${HOST}:${metricsPort}`
  const launch = await launchOf(layout, 'operator', env, `${metricsUrl}/health`, signal, `${server} ${token.value}`)
  return { ...(await ensureRunning(launch)), metricsUrl }
}

/** Starts a replica of the runtime as its service account; it is up when it has routing config and reaches a Shard. Throws StartError. */
export async function startReplica(layout: Layout, name: ReplicaName, backends: Backends, signal: AbortSignal): Promise<Replica> {
  const folder = layout.folderOf(name)
  const port = await portOf({ folder }, name, wantedPort(name))
  const metricsPort = await portOf({ folder }, `${name}-metrics`, wantedPort(`${name}-metrics`), name)
  const env = {
    TENANTRY_PORT: String(port),
    TENANTRY_METRICS_PORT: String(metricsPort),
    TENANTRY_BASE_DOMAIN: 'localhost',
    TENANTRY_NAMESPACE: NAMESPACE,
    TENANTRY_KUBERNETES_URL: backends.controlPlane.server,
    TENANTRY_KUBERNETES_CA_FILE: backends.controlPlane.caFile,
    TENANTRY_KUBERNETES_TOKEN_FILE: backends.token.file,
    TENANTRY_REDIS_URL: backends.redisUrl,
    TENANTRY_NATS_URL: backends.natsUrl,
  }
  const url = `http://${HOST}:${port}`
  const launch = await launchOf(layout, name, env, `${url}/health/ready`, signal)
  return { ...(await ensureRunning(launch)), url, metricsUrl: `http://${HOST}:${metricsPort}` }
}

async function launchOf(
  layout: Layout,
  name: 'operator' | ReplicaName,
  env: Record<string, string>,
  healthUrl: string,
  signal: AbortSignal,
  edition = '',
): Promise<Launch> {
  const program = name === 'operator' ? 'operator' : 'runtime'
  const sources = await editionOf(layout, [program, ...SHARED_SOURCES])
  return {
    name,
    command: process.execPath,
    args: [...NODE_FLAGS, join(layout.repository, program, 'main.ts')],
    env,
    edition: createHash('sha256').update(`${edition} ${sources}`).digest('hex'),
    folder: layout.folderOf(name),
    logFile: layout.logOf(name),
    healthy: () => answersOk(healthUrl),
    startMs: 60_000,
    stopMs: 30_000,
    signal,
  }
}

async function answersOk(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${url} answers ${response.status} ${text.slice(0, 300)}`)
  return true
}

/** Names the state of the sources: after an edit the next `make up` starts the program anew. */
async function editionOf(layout: Layout, paths: readonly string[]): Promise<string> {
  const states = await Promise.all(paths.map(async (path) => stateOf(join(layout.repository, path))))
  return states.flat().join('\n')
}

async function stateOf(path: string): Promise<string[]> {
  const found = await stat(path)
  if (!found.isDirectory()) return [`${path} ${found.size} ${found.mtimeMs}`]
  const entries = (await readdir(path)).filter((name) => !name.endsWith('.test.ts')).sort()
  return (await Promise.all(entries.map((name) => stateOf(join(path, name))))).flat()
}
