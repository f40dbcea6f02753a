import { execFile } from 'node:child_process'
import { inject, vi } from 'vitest'
import { holdToContract } from '../builders/conformance.ts'
import { verbsOf } from '../cluster/verbs.ts'

const { folder, env, onCluster } = inject('platform')
const onIt = onCluster ? verbsOf(kubectl, folder) : undefined

/** A variable of `.tenantry/env`; throws when it is not there. */
function setting(name: string): string {
  const value = env[name]
  if (value === undefined) throw new Error(`${name} is not in .tenantry/env`)
  return value
}

/** The two replicas. */
export const replicas: readonly [string, string] = [setting('TENANTRY_URL'), setting('TENANTRY_URL_B')]
await Promise.all(replicas.map(holdToContract))

/** Runs the kubectl that a user has after `. .tenantry/env`; gives what it printed, throws with what it complained of. */
export function kubectl(args: readonly string[], input = ''): Promise<string> {
  return execute('kubectl', args, input)
}

/** Applies YAML. */
export function apply(yaml: string): Promise<string> {
  return kubectl(['apply', '-f', '-'], yaml)
}

/** A Tenant as a user writes it. */
export function tenantYaml(name: string, spec: Record<string, unknown>): string {
  return JSON.stringify({ apiVersion: 'tenantry.dev/v1alpha1', kind: 'Tenant', metadata: { name }, spec })
}

// What tests send at once is more than a plan lets through; those about limits set their own.
const UNHINDERED = { requestsPerSecond: 100_000, concurrency: 1_000, tasks: 10_000_000 }

/** Applies a Tenant with one API key, waits until it says Ready, gives the key's token. */
export async function createTenant(name: string, shard: string, spec: Record<string, unknown> = {}): Promise<string> {
  await apply(tenantYaml(name, { shardRef: { name: shard }, apiKeys: [{ name: 'main' }], limits: UNHINDERED, ...spec }))
  await kubectl(['wait', '--for=condition=Ready', `tenant/${name}`, '--timeout=60s'])
  return token(name, 'main')
}

/** The token of an API key, as its owner reads it. */
export async function token(tenant: string, key: string): Promise<string> {
  const encoded = await kubectl(['get', 'secret', `${tenant}-apikey-${key}`, '-o', 'jsonpath={.data.token}'])
  return Buffer.from(encoded, 'base64').toString()
}

/** One HTTP answer. */
export type Reply = { status: number; headers: Headers; body: Record<string, unknown> }

/** Asks a replica as a tenant; rejects when no answer comes within 10 s. */
export async function ask(base: string, key: string, method: string, path: string, body?: unknown): Promise<Reply> {
  const response = await fetch(new URL(path, base), {
    method,
    headers: { 'x-api-key': key, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    signal: AbortSignal.timeout(10_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
}

/** Waits until `check` stops throwing; its last complaint is the failure. */
export function eventually<T>(check: () => Promise<T> | T, seconds = 60): Promise<T> {
  return vi.waitFor(check, { timeout: seconds * 1000, interval: 100 })
}

/** A process of the platform, as `status --json` tells. */
type Part = { name: string; pid: number; running: boolean; log: string }

/** Every process of the platform. */
async function parts(): Promise<Part[]> {
  return JSON.parse(await local('status', '--json'))
}

/** SIGKILLs one process of the platform. */
export async function kill(name: string): Promise<void> {
  if (onIt !== undefined) return onIt.kill(name)
  const part = (await parts()).find((one) => one.name === name)
  if (part === undefined || !part.running) throw new Error(`${name} does not run`)
  process.kill(part.pid, 'SIGKILL')
}

/** Brings everything up that is down. */
export async function up(): Promise<void> {
  await (onIt?.up() ?? local('up'))
}

/** Ends everything; data is kept. */
export async function down(): Promise<void> {
  await (onIt?.down() ?? local('down'))
}

/** Runs a verb of the local platform as `make` does. */
function local(...args: string[]): Promise<string> {
  return execute(process.execPath, ['config/local/main.ts', ...args])
}

function execute(command: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      [...args],
      { env: { ...process.env, ...environment(), TENANTRY_FOLDER: folder }, maxBuffer: 1 << 26 },
      (error, out, err) =>
        error === null ? resolve(out) : reject(new Error(`${command} ${args.join(' ')}: ${err || out || error.message}`)),
    )
    child.stdin?.end(input)
  })
}

function environment(): Record<string, string> {
  return { ...env, PATH: (env.PATH ?? '').replace(/\$\{?PATH\}?/, process.env.PATH ?? '') }
}
