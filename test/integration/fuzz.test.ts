import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SCOPES } from '../../config/routing.ts'
import { printFigure } from '../builders/figure.ts'
import { findSchemathesis } from '../builders/schemathesis.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

/** Another seed makes other requests; the same one makes the same again. */
const { FUZZ_SEED = '1', FUZZ_SECONDS = '40' } = process.env

let world: World
let runtime: RunningRuntime
let acme: RoutedTenant
let folder: string

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme', {}, [...SCOPES])
  runtime = await startRuntime(world)
  folder = await mkdtemp(join(tmpdir(), 'tenantry-fuzz-'))
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
  await rm(folder, { recursive: true, force: true })
})

/** Everything that Schemathesis looks for but one thing: that whatever fits the schemas is accepted, for a cursor or an id must also be there. */
const CHECKS = ['--checks', 'all', '--exclude-checks', 'positive_data_acceptance']

/** What the fuzzer says in the end, and whether it was content. */
function fuzz(python: string): Promise<{ content: boolean; report: string }> {
  const known = ['-H', `X-API-Key: ${acme.token}`, '-H', 'X-Tenant-ID: acme']
  const extent = ['--max-examples', '30', '--max-time', FUZZ_SECONDS, '--workers', '2', '--seed', FUZZ_SEED, '--no-shrink']
  const words = ['-m', 'schemathesis.cli', 'run', `${runtime.url}/openapi.json`, ...known, ...CHECKS, ...extent]
  return new Promise((resolve) => {
    execFile(python, words, { cwd: folder, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
      resolve({ content: error === null, report: `${stdout}${stderr}` }),
    )
  })
}

test('HT-14: an outside fuzzer finds no 5xx, and no answer that is not as the document says', { timeout: 240_000 }, async () => {
  const found = await findSchemathesis().then(
    (python) => ({ python }),
    (reason: unknown) => ({ reason }),
  )
  if ('reason' in found) {
    printFigure(`HT-14: NOT RUN, since Schemathesis cannot be had here: ${found.reason}`)
    return
  }
  const { content, report } = await fuzz(found.python)
  const failures = runtime.lines.filter(({ status }) => typeof status === 'number' && status >= 500)
  printFigure(`HT-14: Schemathesis, seed ${FUZZ_SEED}: ${/[\d,]+ generated, .*/.exec(report)?.[0]}; ${failures.length} answers were 5xx`)
  expect(content ? '' : report.slice(-12_000)).toBe('')
  expect(failures).toEqual([])
})
