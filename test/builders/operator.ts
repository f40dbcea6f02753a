import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { inject } from 'vitest'
import { endChildWithMe } from '../../config/local/guard.ts'
import { kubectl } from './cluster.ts'

/** An operator that runs as a process of its own. */
export type RunningOperator = {
  url: string
  lines: string[]
  process: ChildProcess
  stop: () => Promise<number | null>
  kill: () => Promise<void>
}

/** Makes Shards and Tenants, and the policy that protects them, known to the API server; any number of tests may do so at once. */
export async function installCrds(): Promise<void> {
  const names = ['shards.tenantry.dev', 'tenants.tenantry.dev']
  await kubectl(['apply', '--server-side', '--force-conflicts', '-f', 'crds/'])
  await kubectl(['wait', '--for=condition=Established', '--timeout=30s', ...names.map((name) => `crd/${name}`)])
  // Established is said before the kind is served: the first call waits for it.
  for (const name of names) await kubectl(['get', name, '--all-namespaces'])
}

/** Starts the operator for one namespace; resolves when it listens. */
export async function startOperator(namespace: string, environment: Record<string, string> = {}): Promise<RunningOperator> {
  const child = spawn(process.execPath, ['operator/main.ts'], {
    env: {
      PATH: process.env.PATH,
      // Half of a start is compiling.
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(tmpdir(), 'tenantry-compile-cache'),
      KUBECONFIG: inject('kubernetes').kubeconfig,
      TENANTRY_NAMESPACE: namespace,
      TENANTRY_METRICS_PORT: '0',
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  void endChildWithMe(child)
  const lines: string[] = []
  const { promise: port, resolve, reject } = Promise.withResolvers<number>()
  createInterface(child.stdout).on('line', (line) => {
    lines.push(line)
    if (line.includes('"listening"')) resolve(JSON.parse(line).port)
  })
  child.once('exit', (code) => reject(new Error(`the operator ended with ${code}: ${lines.join('\n')}`)))
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal)
      await once(child, 'exit')
    }
    return child.exitCode
  }
  return {
    url: `http://127.0.0.1:${await port}`,
    lines,
    process: child,
    stop: () => end('SIGTERM'),
    kill: async () => {
      await end('SIGKILL')
    },
  }
}
