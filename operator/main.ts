import { Command } from 'commander'
import { createLog, type ProcessLog } from '../config/log.ts'
import { SettingsError } from '../config/settings.ts'
import { VERSION } from '../config/version.ts'
import { connect } from './kubernetes/client.ts'
import { INSTALLATION } from './kubernetes/installation.ts'
import { holdLease } from './kubernetes/lease.ts'
import { CONFIG_MAPS } from './kubernetes/object.ts'
import { countMetrics, type Health, serveMetrics } from './metrics.ts'
import { describeSettings, readSettings, type Settings } from './settings.ts'
import { startWork, type Work } from './work.ts'

const LEASE = 'tenantry-operator'
/** A watch that has been silent for longer makes the replica unready. */
const STALE_MS = 60_000

/** From the signal to end until the process is ended by force. */
const END_MS = 20_000

new Command('operator')
  .version(VERSION)
  .description('Makes Tenants and Shards of one namespace so, in Postgres and in the routing config.')
  .addHelpText('after', `\nEnvironment:\n${describeSettings()}`)
  .action(main)
  .parse()

async function main(): Promise<void> {
  let settings: Settings
  try {
    settings = readSettings(process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(2)
  }
  const log = createLog('operator', settings.logLevel)
  let code = 1
  try {
    code = await run(settings, log)
  } catch (error) {
    log.error({ err: error }, 'the operator has failed')
  }
  log.flush()
  process.exit(code)
}

/** Runs until a signal ends it or the Lease is lost; what was opened is closed in reverse order. Gives the exit code. */
async function run(settings: Settings, log: ProcessLog): Promise<number> {
  await using opened = new AsyncDisposableStack()
  const stopping = stopOnSignals(log)
  const client = opened.adopt(connect(settings.kubeconfig === undefined ? {} : { kubeconfig: settings.kubeconfig }), (open) => open.close())
  let work: Work | undefined
  const metrics = opened.adopt(
    countMetrics({ phases: () => work?.phases() ?? new Map(), watchAges: () => work?.watchAges() ?? new Map() }),
    (counted) => counted.stop(),
  )
  const health: Health = { alive: () => work?.stuck() ?? [], ready: () => staleWatches(work) }
  const server = opened.adopt(await serveMetrics(settings.metricsPort, metrics, health), (served) => served.stop())
  log.info({ port: server.port, namespace: settings.namespace, identity: settings.identity }, 'listening')

  const lease = await holdLease({
    client,
    namespace: settings.namespace,
    name: LEASE,
    identity: settings.identity,
    standIn: { resource: CONFIG_MAPS, name: INSTALLATION },
    signal: stopping,
    log,
  }).catch(() => undefined)
  if (lease === undefined) return 0
  opened.defer(() => lease.release())
  const signal = AbortSignal.any([stopping, lease.lost])
  // Whatever still holds on then (a statement without an answer) must not outlive the Lease by much.
  signal.addEventListener('abort', () => setTimeout(() => process.exit(1), END_MS).unref())
  try {
    work = await startWork({ settings, client, opened, log, signal })
    await work.done
  } catch (error) {
    if (!signal.aborted) throw error
  }
  if (lease.lost.aborted) log.error({ err: lease.lost.reason }, 'the lease is lost; another replica works on')
  return lease.lost.aborted ? 1 : 0
}

function staleWatches(work: Work | undefined): string[] {
  return [...(work?.watchAges() ?? [])]
    .filter(([, ms]) => ms > STALE_MS)
    .map(([kind, ms]) => `nothing heard of ${kind} for ${Math.round(ms / 1000)} s`)
}

function stopOnSignals(log: ProcessLog): AbortSignal {
  const stopping = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      log.info({ signal: name }, 'the operator ends')
      stopping.abort(new Error(name))
    })
  }
  return stopping.signal
}
