import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { formatRouting, SHARDS_DOCUMENT } from '../../config/routing.ts'
import { createNamespace } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { type RunningOperator, startOperator } from '../builders/operator.ts'
import { buildDocument } from '../builders/routing.ts'
import { createWorld, type RunningRuntime, startReadyRuntime, type World } from '../builders/world.ts'
import { startTcpProxy, type TcpProxy } from '../faults/tcp-proxy.ts'

type Probe = { httpGet: { path: string }; periodSeconds: number; timeoutSeconds: number; failureThreshold: number }

const PATIENCE = { timeout: 20_000, interval: 100 }
let world: World
let proxy: TcpProxy
let runtime: RunningRuntime
let operator: RunningOperator

beforeAll(async () => {
  world = await createWorld()
  proxy = await startTcpProxy(world.database.endpoint)
  const { host, port } = proxy
  await world.write(SHARDS_DOCUMENT, formatRouting(buildDocument([], { 'shard-a': { ...world.database.endpoint, host, port } })))
  await world.addTenant('acme')
  runtime = await startReadyRuntime(world)
  operator = await startOperator(await createNamespace())
})

afterAll(async () => {
  for (const { process } of [runtime, operator]) process.kill('SIGCONT')
  await runtime?.stop()
  await operator?.stop()
  await proxy?.close()
  await world?.remove()
})

/** The probe as the manifest of the program has it. */
function probeOf(program: string, kind: 'livenessProbe' | 'readinessProbe'): Probe {
  const manifests = parseAllDocuments(readFileSync(join('config', 'kubernetes', 'base', `${program}.yaml`), 'utf8'))
  const { spec } = manifests.map((manifest) => manifest.toJS()).find(({ kind: one }) => one === 'Deployment')
  return spec.template.spec.containers[0][kind]
}

/** One asking as the kubelet does it: whether the answer comes in time and is a good one. */
async function ask(url: string, { httpGet, timeoutSeconds }: Probe): Promise<boolean> {
  const signal = AbortSignal.timeout(timeoutSeconds * 1_000)
  return fetch(new URL(httpGet.path, url), { signal }).then(
    ({ ok }) => ok,
    () => false,
  )
}

const running = () => [
  { program: 'runtime', url: runtime.url, child: runtime.process },
  { program: 'operator', url: operator.url, child: operator.process },
]

test.each(['dead', 'silent'])(
  'K8-11: with Postgres %s a runtime is alive and not ready, and is ready again without a restart',
  async (how) => {
    const [alive, ready] = [probeOf('runtime', 'livenessProbe'), probeOf('runtime', 'readinessProbe')]
    if (how === 'dead') proxy.down()
    else proxy.blackHole()
    await vi.waitFor(async () => expect(await ask(runtime.url, ready)).toBe(false), PATIENCE)
    const answers: boolean[] = []
    for (let round = 0; round < 10; round += 1) {
      answers.push(await ask(runtime.url, alive))
      await pause(100)
    }
    proxy.mend()
    await vi.waitFor(async () => expect(await ask(runtime.url, ready)).toBe(true), PATIENCE)
    printFigure(`K8-11: Postgres ${how}: wrong restarts ${answers.filter((answer) => !answer).length} of ${answers.length} looks`)
    expect(answers).not.toContain(false)
    expect(runtime.process.exitCode).toBeNull()
  },
)

test.each(['runtime', 'operator'])(
  'K8-11: the event loop of a blocked %s answers no liveness probe, so that it is restarted',
  async (name) => {
    const { url, child } = running().find(({ program }) => program === name) ?? { url: '' }
    const alive = probeOf(name, 'livenessProbe')
    expect(await ask(url, alive)).toBe(true)
    child?.kill('SIGSTOP')
    const since = performance.now()
    const answers: boolean[] = []
    for (let failure = 0; failure < alive.failureThreshold; failure += 1) answers.push(await ask(url, alive))
    child?.kill('SIGCONT')
    // The operator has lost its Lease meanwhile, and ends by itself.
    await vi.waitFor(async () => expect((await ask(url, alive)) || child?.exitCode === 1).toBe(true), PATIENCE)
    expect(answers).not.toContain(true)
    const seconds = alive.periodSeconds * alive.failureThreshold + alive.timeoutSeconds
    printFigure(
      `K8-11: a blocked ${name}: ${answers.length} looks unanswered in ${Math.round((performance.now() - since) / 1_000)} s; the kubelet restarts it within ${seconds} s`,
    )
  },
)
