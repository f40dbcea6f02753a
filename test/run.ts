import { startVitest } from 'vitest/node'
import { check } from './check/check.ts'
import { ProgressReporter } from './reporter.ts'
import { closingLine, exitCode, progressLine, type Tally } from './tally.ts'

// The last one disturbs the platform on a cluster, and needs one.
const SUITES = ['unit', 'integration', 'e2e', 'cluster']

/** Runs the named suites one after the other, or only the files whose path contains one of `files`; a run that breaks counts as a failure. */
async function runSuites(project: string[], files: string[]): Promise<Tally> {
  const reporter = new ProgressReporter({ closes: false })
  try {
    const vitest = await startVitest(files, { run: true, project, reporters: [reporter] })
    await vitest.close()
  } catch (error) {
    console.error(error)
    reporter.tally.failed += 1
    console.log(progressLine('FAIL', 0, 'the test runner'))
  }
  return reporter.tally
}

/** `node test/run.ts check unit integration e2e`, or `node test/run.ts FILE`: what `make test` calls. */
async function main(words: string[]): Promise<void> {
  const suites = SUITES.filter((suite) => words.includes(suite))
  const files = words.filter((word) => word !== 'check' && !SUITES.includes(word))
  const tallies: Tally[] = []
  if (words.includes('check')) tallies.push(await check())
  if (suites.length > 0 || files.length > 0) tallies.push(await runSuites(suites.length > 0 ? suites : SUITES.slice(0, 3), files))
  const total = tallies.reduce((a, b) => ({ passed: a.passed + b.passed, failed: a.failed + b.failed }), { passed: 0, failed: 0 })
  console.log(closingLine(total))
  process.exit(exitCode(total))
}

await main(process.argv.slice(2))
