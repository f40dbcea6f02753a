import { progressLine, type Tally } from '../tally.ts'
import { run, type Step } from './step.ts'

const STEPS: readonly Step[] = [
  { name: 'format and lint (biome)', faults: () => run('biome', ['check', '--error-on-warnings', '.']) },
  { name: 'types (tsc)', faults: () => run('tsc', ['--project', '.']) },
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
