import { execFileSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { type Bench, type Figure, judge, table } from './figures.ts'
import { limitsOverhead } from './limits.ts'
import { operatorMemory, runtimeMemory } from './memory.ts'
import { rlsById, rlsList } from './policy.ts'
import { provisions } from './provision.ts'
import { reconcile } from './reconcile.ts'
import { command, commandFew, tenantRead } from './requests.ts'
import { operatorSizing, runtimeSizing } from './sizing.ts'
import { httpStack, httpStackFastify } from './stack.ts'
import { operatorStart, runtimeStart } from './start.ts'

const ROUNDS = 3
const BENCHES: readonly Bench[] = [
  tenantRead,
  command,
  commandFew,
  httpStack,
  httpStackFastify,
  limitsOverhead,
  rlsList,
  rlsById,
  reconcile,
  ...provisions,
  runtimeMemory,
  operatorMemory,
  runtimeSizing,
  operatorSizing,
  runtimeStart,
  operatorStart,
]
const FILE = '.tenantry/bench.json'

/** What the figures depend on. */
async function versions(): Promise<Record<string, string>> {
  const { dependencies } = JSON.parse(await readFile('package.json', 'utf8'))
  return {
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    node: process.version,
    processors: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    express: dependencies.express,
    pg: dependencies.pg,
  }
}

async function main(only: string | undefined): Promise<void> {
  const wanted = BENCHES.filter(({ name }) => only === undefined || name.startsWith(only))
  if (wanted.length === 0) throw new Error(`there is no line ${only}; there are ${BENCHES.map(({ name }) => name).join(', ')}`)
  const [figures, used]: [Figure[], Record<string, string>] = [[], await versions()]
  for (const bench of wanted) {
    console.log(`${bench.name}: ${ROUNDS} rounds`)
    figures.push(judge(bench, await bench.measure(ROUNDS), used))
  }
  await mkdir('.tenantry', { recursive: true })
  await writeFile(FILE, `${JSON.stringify(figures, null, 2)}\n`)
  console.log(`\n${table(figures)}\n\nWritten to ${FILE}.`)
  if (figures.some(({ ok }) => !ok)) process.exitCode = 1
}

await main(process.argv[2])
