import { spawn } from 'node:child_process'
import { access } from 'node:fs/promises'
import { Command } from 'commander'
import { letLive } from './guard.ts'
import { type Layout, layoutOf, ROWS } from './layout.ts'
import { withLock } from './lock.ts'
import { createProgress, StepError } from './progress.ts'
import { statusOf } from './status.ts'
import { removeAll, stopAll } from './stop.ts'
import { up } from './up.ts'

const LOCK_MS = 15 * 60_000

const layout = layoutOf()
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => interrupted.abort(new Error(`interrupted by ${signal}`)))
}
// Whoever reads along may leave ("| head"); the platform comes up all the same.
process.stdout.on('error', () => {})

const program = new Command('local').description('The whole platform as processes of this machine, without Docker.')
program
  .command('up')
  .description('start everything, or what is missing')
  .action(() => exclusively(start))
program
  .command('down')
  .description('stop everything; data is kept')
  .action(() => exclusively(stop))
program
  .command('clean')
  .description('stop everything and remove its data')
  .action(() => exclusively(clean))
program.command('logs').description('follow all logs').action(followLogs)
program.command('status').description('say what runs').option('--json', 'as JSON').action(showStatus)
await program.parseAsync()

async function start(): Promise<void> {
  const begin = performance.now()
  try {
    await up(layout, createProgress(write, interrupted.signal), interrupted.signal)
  } catch (error) {
    fail(error)
    write('stopping everything else')
    await stopQuietly()
    return
  }
  await letLive()
  write(`\nThe platform runs (${((performance.now() - begin) / 1000).toFixed(1)} s). Try:\n\n${whatToTry(layout)}`)
}

async function stop(): Promise<void> {
  const stopped = await stopAll(layout, createProgress(write, interrupted.signal))
  write(stopped === 0 ? 'nothing ran' : 'stopped; "make up" goes on with the same data, "make clean" removes it')
}

async function clean(): Promise<void> {
  await stopQuietly()
  await removeAll(layout)
  write(`${layout.folder} is removed`)
}

async function followLogs(): Promise<void> {
  const files = ROWS.flat().map((part) => layout.logOf(part))
  const found = await Promise.all(
    files.map((file) =>
      access(file).then(
        () => [file],
        () => [],
      ),
    ),
  )
  if (found.flat().length === 0) return fail(new Error('there are no logs: run "make up" first'))
  const tail = spawn('tail', ['-n', '10', '-F', ...found.flat()], { stdio: 'inherit' })
  interrupted.signal.addEventListener('abort', () => tail.kill())
  await new Promise((resolve) => tail.once('close', resolve))
}

async function showStatus({ json }: { json?: boolean }): Promise<void> {
  const parts = await statusOf(layout)
  if (json === true) return write(JSON.stringify(parts, undefined, 2))
  for (const { name, pid, port, log } of parts)
    write(
      `${name.padEnd(26)}${pid === undefined ? '-' : `pid ${pid}`.padEnd(14)}${port === undefined ? '' : `port ${port}`.padEnd(12)}${log}`,
    )
}

/** One of up, down and clean at a time. */
async function exclusively(work: () => Promise<void>): Promise<void> {
  const onWait = (pid: number) => write(`process ${pid} is starting or stopping the platform: waiting for it`)
  try {
    await withLock(layout.lock, { deadlineMs: LOCK_MS, onWait, signal: interrupted.signal }, work)
  } catch (error) {
    fail(error)
  }
}

async function stopQuietly(): Promise<void> {
  await stopAll(
    layout,
    createProgress(() => {}, new AbortController().signal),
  )
}

function fail(error: unknown): void {
  process.exitCode = 1
  process.stderr.write(`\n${error instanceof StepError ? error.report() : error instanceof Error ? error.message : String(error)}\n`)
}

function write(line: string): void {
  process.stdout.write(`${line}\n`)
}

function whatToTry({ environment }: Layout): string {
  return `  . ${environment}
  kubectl get shards,tenants
  curl -s -H "X-API-Key: $(kubectl get secret acme-apikey-main -o go-template='{{.data.token | base64decode}}')" -H 'Content-Type: application/json' -d '{"title": "Read the README"}' "$TENANTRY_URL/v1/tasks"

  make logs follows all logs, make down stops everything, make clean removes it.`
}
