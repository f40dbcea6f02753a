import { createHash } from 'node:crypto'
import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { withLock } from './lock.ts'
import { run } from './run.ts'

const MODULE = join(import.meta.dirname, 'servers')
const HOUR_MS = 3_600_000
const PROGRESS_MS = 5_000

// Without these the API server calls itself v0.0.0-master, and kubectl finds it too old.
const KUBERNETES = { version: 'v1.37.2', major: '1', minor: '37' }
const LINKER_FLAGS = [
  '-s -w',
  `-X k8s.io/component-base/version.gitVersion=${KUBERNETES.version}`,
  `-X k8s.io/component-base/version.gitMajor=${KUBERNETES.major}`,
  `-X k8s.io/component-base/version.gitMinor=${KUBERNETES.minor}`,
].join(' ')

/** The servers that can be built, with the packages that `servers/go.mod` pins. */
const PACKAGES = {
  etcd: 'go.etcd.io/etcd/server/v3',
  'nats-server': 'github.com/nats-io/nats-server/v2',
  kubectl: 'k8s.io/kubernetes/cmd/kubectl',
  'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
  'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
} as const

/** A server that can be built. */
export type Buildable = keyof typeof PACKAGES

/** Tells people what goes on, and lets them stop it. */
export type Attention = { report?: ((line: string) => void) | undefined; signal?: AbortSignal | undefined }

/** Where programs stand that were had for this user, whichever clone asked for them. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tenantry')
}

/** The folder of the built servers: another one for each content of go.mod and go.sum. */
export async function builtFolder(): Promise<string> {
  const hash = createHash('sha256')
  for (const file of ['go.mod', 'go.sum']) hash.update(await readFile(join(MODULE, file)))
  return join(cacheFolder(), `servers-${hash.digest('hex').slice(0, 16)}`)
}

/**
 * Builds those of the servers that are not there yet, and returns their folder. A server appears whole or not at all; an interrupted
 * build goes on where it stopped (Go keeps what it compiled). Throws with the way out when Go is missing.
 */
export async function build(servers: readonly Buildable[], attention: Attention): Promise<string> {
  const folder = await builtFolder()
  if ((await missing(folder, servers)).length === 0) return folder
  const onWait = (pid: number) => attention.report?.(`process ${pid} is building servers: waiting for it`)
  await withLock(join(folder, 'lock'), { deadlineMs: HOUR_MS, onWait, signal: attention.signal }, async () => {
    const needed = await missing(folder, servers)
    if (needed.length === 0) return
    await checkGo(attention)
    attention.report?.(
      `building ${needed.join(', ')} with Go into ${folder}: this takes minutes, once; it may be interrupted and goes on from there`,
    )
    for (const [index, server] of needed.entries()) await buildOne(folder, server, `${index + 1}/${needed.length}`, attention)
  })
  return folder
}

async function buildOne(folder: string, server: Buildable, count: string, { report, signal }: Attention): Promise<void> {
  const begin = performance.now()
  await mkdir(folder, { recursive: true })
  const temporary = await mkdtemp(join(folder, 'building-'))
  const seconds = () => Math.round((performance.now() - begin) / 1000)
  let compiled = 0
  let last = 'dependencies'
  const timer = setInterval(() => report?.(`${server} (${count}): ${compiled} packages compiled, ${seconds()} s, now ${last}`), PROGRESS_MS)
  try {
    await run('go', ['build', '-v', '-trimpath', `-ldflags=${LINKER_FLAGS}`, '-o', join(temporary, server), PACKAGES[server]], {
      cwd: MODULE,
      // The module as it is committed, whatever the user's own settings say.
      env: { CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOWORK: 'off' },
      onLine: (line) => {
        compiled++
        last = line
      },
      signal,
    })
    await rename(join(temporary, server), join(folder, server))
    report?.(`${server} (${count}): built in ${seconds()} s`)
  } finally {
    clearInterval(timer)
    await rm(temporary, { recursive: true, force: true })
  }
}

async function missing(folder: string, servers: readonly Buildable[]): Promise<Buildable[]> {
  const found = await Promise.all(
    servers.map((server) =>
      access(join(folder, server)).then(
        () => true,
        () => false,
      ),
    ),
  )
  return servers.filter((_, index) => found[index] === false)
}

async function checkGo({ signal }: Attention): Promise<void> {
  await run('go', ['version'], { signal }).catch(() => {
    throw new Error(
      'the servers can neither be downloaded nor built: install Go 1.26 or newer (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd and kubectl',
    )
  })
}
