import { progressLine, type Tally } from '../tally.ts'
import { clientFaults } from './client.ts'
import { crdFaults } from './crd-types.ts'
import { importsOf } from './imports.ts'
import { violations } from './layering.ts'
import { untidy } from './names.ts'
import { readSources } from './sources.ts'
import { run, type Step } from './step.ts'

const STEPS: readonly Step[] = [
  { name: 'format and lint (biome)', faults: () => run('biome', ['check', '--error-on-warnings', '--max-diagnostics=10', '.']) },
  { name: 'types (tsc)', faults: () => run('tsc', ['--project', '.']) },
  { name: 'layers (test/check/layers.ts)', faults: async () => violations(readSources().filter(isTypeScript).map(importsOf)) },
  { name: 'dead code and unused dependencies (knip)', faults: () => run('knip', ['--no-progress']) },
  { name: 'CRDs against their types', faults: () => crdFaults(readSources().filter(({ path }) => /^crds\/\w+\.yaml$/.test(path))) },
  { name: 'client types against the running API', faults: clientFaults },
  { name: 'names, lengths, machine paths', faults: async () => readSources().flatMap(untidy) },
]

/** Takes every step, also after one has failed, with a line for each and, under it, what is wrong. */
export async function check(): Promise<Tally> {
  const tally = { passed: 0, failed: 0 }
  for (const step of STEPS) {
    const started = performance.now()
    const faults = await step.faults().catch((error: unknown) => [String(error)])
    tally[faults.length === 0 ? 'passed' : 'failed'] += 1
    console.log(progressLine(faults.length === 0 ? 'ok' : 'FAIL', performance.now() - started, `check  ${step.name}`))
    for (const fault of faults) console.log(fault.replaceAll(/^/gm, '       '))
  }
  return tally
}

function isTypeScript({ path }: { path: string }): boolean {
  return path.endsWith('.ts')
}
