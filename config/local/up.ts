import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { findControlPlane, findNats, findPostgres, findRedis } from './binaries.ts'
import { type Addresses, writeEnvironment } from './environment.ts'
import { apply, createMissing, type Kubectl, kubectlFor, waitUntilReady } from './kubectl.ts'
import { type Layout, NAMESPACE, type Part, wantedPort } from './layout.ts'
import { tail } from './log-file.ts'
import { shardManifests } from './manifests.ts'
import { type Server, StartError } from './processes.ts'
import { startOperator, startReplica } from './programs.ts'
import { type Progress, together } from './progress.ts'
import { type ControlPlane, type Step, startControlPlane } from './servers/control-plane.ts'
import { type NatsServer, startNats } from './servers/nats.ts'
import { type PostgresServer, startPostgres } from './servers/postgres.ts'
import { type RedisServer, startRedis } from './servers/redis.ts'
import { openToken } from './tokens.ts'

const READY_SECONDS = 90

type Servers = {
  controlPlane: ControlPlane
  shards: { 'shard-a': PostgresServer; 'shard-b': PostgresServer }
  redis: RedisServer
  nats: NatsServer
}

/** Brings the whole platform up, or what is missing of it, and writes kubeconfig and environment file. Throws StepError, and the signal's reason. */
export async function up(layout: Layout, progress: Progress, signal: AbortSignal): Promise<Addresses> {
  await mkdir(layout.folder, { recursive: true })
  await progress.step('programs', () => findPrograms(progress, signal))
  const servers = await startServers(layout, progress, signal)
  await openCluster(layout, servers.controlPlane)
  const kubectl = kubectlFor(layout, signal)
  await progress.step('custom resources and rights', () => applyDefinitions(layout, kubectl))
  await progress.step('shards', async () => apply(kubectl, { text: await shardManifests(layout.repository, servers.shards) }))
  const addresses = await startPrograms(layout, kubectl, servers, progress, signal)
  await progress.step('tenants', () => createMissing(kubectl, samples(layout, 'tenants.yaml')))
  await progress.step('all Ready', () => allReady(layout, kubectl))
  await writeEnvironment(layout, addresses)
  return addresses
}

async function findPrograms(progress: Progress, signal: AbortSignal): Promise<void> {
  const attention = { report: progress.note, signal }
  await findPostgres()
  await findRedis(attention)
  await findNats(attention)
  const { kubeControllerManager } = await findControlPlane(attention)
  if (kubeControllerManager !== undefined) return
  progress.note('there is no kube-controller-manager: nothing is collected by owner reference, and a deleted namespace stays')
}

async function startServers(layout: Layout, progress: Progress, signal: AbortSignal): Promise<Servers> {
  const start = <S extends Server>(
    part: Part,
    launch: (options: { name: string; folder: string; port: number | undefined; logFile: string }) => Promise<S>,
  ) =>
    progress.step(
      part,
      () => launch({ name: part, folder: layout.folderOf(part), port: wantedPort(part), logFile: layout.logOf(part) }),
      startedOrFound,
    )
  const [controlPlane, a, b, redis, nats] = await together<[ControlPlane, PostgresServer, PostgresServer, RedisServer, NatsServer]>(
    signal,
    (signal) => [
      startControl(layout, progress, signal),
      start('shard-a', (options) => startPostgres({ ...options, signal })),
      start('shard-b', (options) => startPostgres({ ...options, signal })),
      start('redis', (options) => startRedis({ ...options, signal })),
      start('nats', (options) => startNats({ ...options, signal })),
    ],
  )
  return { controlPlane, shards: { 'shard-a': a, 'shard-b': b }, redis, nats }
}

function startControl(layout: Layout, progress: Progress, signal: AbortSignal): Promise<ControlPlane> {
  const step: Step = (name, start) => progress.step(name, start, startedOrFound)
  return startControlPlane({
    folder: layout.folderOf('kube-apiserver'),
    port: wantedPort('kube-apiserver'),
    etcdPort: wantedPort('etcd'),
    controllerManagerPort: wantedPort('kube-controller-manager'),
    logFileOf: layout.logOf,
    signal,
    step,
  })
}

async function startPrograms(
  layout: Layout,
  kubectl: Kubectl,
  servers: Servers,
  progress: Progress,
  signal: AbortSignal,
): Promise<Addresses> {
  const { controlPlane, shards, redis, nats } = servers
  const [operatorToken, token] = await Promise.all([
    openToken(layout, kubectl, 'tenantry-operator'),
    openToken(layout, kubectl, 'tenantry-runtime'),
  ])
  const backends = { controlPlane, token, redisUrl: redis.url, natsUrl: nats.url }
  const [operator, runtime, runtimeB] = await together(signal, (signal) => [
    progress.step('operator', () => startOperator(layout, controlPlane, operatorToken, signal), startedOrFound),
    progress.step('runtime-a', () => startReplica(layout, 'runtime-a', backends, signal), startedOrFound),
    progress.step('runtime-b', () => startReplica(layout, 'runtime-b', backends, signal), startedOrFound),
  ])
  return { operator, runtime, runtimeB, shards, redisUrl: redis.url, natsUrl: nats.url }
}

/** The kubeconfig whose context names the platform's namespace, and the kubectl that fits the server. */
async function openCluster(layout: Layout, controlPlane: ControlPlane): Promise<void> {
  const text = await readFile(controlPlane.kubeconfig, 'utf8')
  await writeFile(layout.kubeconfig, text.replace('namespace: default', `namespace: ${NAMESPACE}`), { mode: 0o600 })
  await chmod(layout.kubeconfig, 0o600)
  await mkdir(dirname(layout.kubectl), { recursive: true })
  await rm(layout.kubectl, { force: true })
  await symlink(controlPlane.kubectl, layout.kubectl)
}

async function applyDefinitions(layout: Layout, kubectl: Kubectl): Promise<void> {
  const files = ['crds', join('config', 'kubernetes', 'base', 'rbac.yaml')].map((path) => join(layout.repository, path))
  await apply(kubectl, { files })
  await kubectl(['wait', '--for=condition=Established', '--timeout=30s', 'customresourcedefinitions', '--all'])
}

/** Waits for the Shards and the sample Tenants; when they do not become Ready the operator's log says more. */
async function allReady(layout: Layout, kubectl: Kubectl): Promise<void> {
  try {
    await waitUntilReady(kubectl, ['-f', samples(layout, 'shards.yaml'), '-f', samples(layout, 'tenants.yaml')], READY_SECONDS)
  } catch (error) {
    const log = layout.logOf('operator')
    throw new StartError('Shards and Tenants', error instanceof Error ? error.message : String(error), log, await tail(log, 15))
  }
}

function samples(layout: Layout, file: string): string {
  return join(layout.repository, 'config', 'samples', file)
}

function startedOrFound({ found, pid }: Server): string {
  return found ? `runs already, pid ${pid}` : `started, pid ${pid}`
}
