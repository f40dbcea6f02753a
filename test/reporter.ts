import type { Reporter, SerializedError, TestCase, TestModule, TestSuite, Vitest } from 'vitest/node'
import { closingLine, progressLine, type Tally } from './tally.ts'

/**
 * Prints a line for each test as it ends and, at the very end, `N passed, N failed`. A file
 * that does not load, a hook that fails, an error nobody caught and a test that was skipped all count as failed: none of them
 * proved anything. Where more follows (`closes` false), the closing line is left to the caller.
 */
export class ProgressReporter implements Reporter {
  readonly tally: Tally = { passed: 0, failed: 0 }
  private readonly closes: boolean
  private readonly write: (line: string) => void
  private vitest: Vitest | undefined

  constructor({ closes = true, write = (line: string): void => void process.stdout.write(`${line}\n`) } = {}) {
    this.closes = closes
    this.write = write
  }

  onInit(vitest: Vitest): void {
    this.vitest = vitest
  }

  onTestCaseResult(test: TestCase): void {
    const { state, errors = [] } = test.result()
    if (state === 'skipped' && this.vitest?.config.testNamePattern !== undefined) return
    this.count(state === 'passed', test.diagnostic()?.duration ?? 0, nameOf(test.module, test.fullName, state === 'skipped'), errors)
  }

  onTestSuiteResult(suite: TestSuite): void {
    if (suite.errors().length > 0) this.count(false, 0, nameOf(suite.module, suite.fullName), suite.errors())
  }

  onTestModuleEnd(module: TestModule): void {
    if (module.errors().length > 0)
      this.count(false, module.diagnostic().duration, nameOf(module, 'did not load or clean up'), module.errors())
  }

  onTestRunEnd(modules: readonly TestModule[], uncaught: readonly SerializedError[]): void {
    for (const error of uncaught) this.count(false, 0, 'an error that no test caught', [error])
    if (modules.length === 0 && uncaught.length === 0) this.count(false, 0, 'no test file was found', [])
    if (this.tally.failed > 0) process.exitCode = 1
    if (this.closes) this.write(closingLine(this.tally))
  }

  private count(passed: boolean, milliseconds: number, name: string, errors: readonly unknown[]): void {
    this.tally[passed ? 'passed' : 'failed'] += 1
    this.write(progressLine(passed ? 'ok' : 'FAIL', milliseconds, name))
    for (const error of errors) this.vitest?.logger.printError(error, { fullStack: false })
  }
}

function nameOf(module: TestModule, name: string, skipped = false): string {
  return `${module.project.name}  ${module.relativeModuleId}  ${name}${skipped ? ' (was skipped)' : ''}`
}
