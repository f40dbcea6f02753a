import { StartError } from './processes.ts'

const NAME_WIDTH = 28

/** A step did not end well: which one, why, and where its log is. */
export class StepError extends Error {
  readonly step: string
  readonly logFile: string | undefined
  readonly lastLines: readonly string[]

  constructor(step: string, seconds: string, cause: unknown) {
    const reason = cause instanceof StartError ? cause.reason : cause instanceof Error ? cause.message : String(cause)
    super(`${step} failed after ${seconds} s: ${reason}`, { cause })
    this.name = 'StepError'
    this.step = step
    this.logFile = cause instanceof StartError ? cause.logFile : undefined
    this.lastLines = cause instanceof StartError ? cause.lastLines : []
  }

  /** What people read: the message, the log's path, its last lines. */
  report(): string {
    const log = this.logFile === undefined ? [] : [`  log: ${this.logFile}`, ...this.lastLines.map((line) => `    ${line}`)]
    return [this.message, ...log].join('\n')
  }
}

/** Tells people how far things are. */
export type Progress = {
  /** Does the work and writes one line for it with its seconds. Throws StepError, or the reason when `signal` was aborted. */
  step<T>(name: string, work: () => Promise<T>, outcome?: (result: T) => string): Promise<T>
  note(line: string): void
}

/** Progress that goes to `write`, a line at a time. */
export function createProgress(write: (line: string) => void, signal: AbortSignal): Progress {
  return {
    note: (line) => write(`    ${line}`),
    step: async (name, work, outcome = () => '') => {
      const begin = performance.now()
      const seconds = () => ((performance.now() - begin) / 1000).toFixed(1)
      try {
        const result = await work()
        write(`  ${name.padEnd(NAME_WIDTH)}${seconds().padStart(5)} s  ${outcome(result)}`.trimEnd())
        return result
      } catch (error) {
        if (signal.aborted) throw signal.reason
        throw error instanceof StepError ? error : new StepError(name, seconds(), error)
      }
    },
  }
}

/** Does all tasks at once. When one fails the others are aborted and awaited, and its error is thrown. */
export async function together<T extends readonly unknown[]>(
  signal: AbortSignal,
  tasks: (signal: AbortSignal) => { [K in keyof T]: Promise<T[K]> },
): Promise<T> {
  const failed = new AbortController()
  const running = tasks(AbortSignal.any([signal, failed.signal]))
  try {
    return await Promise.all(running)
  } catch (error) {
    failed.abort(error)
    await Promise.allSettled(running)
    throw error
  }
}
