/** Time as the loops see it, so that a test can hold it in its hand. */
export type Clock = {
  /** Milliseconds that never go back and never jump; only differences mean anything. */
  now: () => number
  /** Runs `task` once after `ms`, unless the returned function is called before. */
  after: (ms: number, task: () => void) => () => void
}

/** The machine's monotonic clock: setting the wall clock moves no deadline. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (ms, task) => {
    const timer = setTimeout(task, ms)
    return () => clearTimeout(timer)
  },
}

/** Resolves after `ms`, or at once when `signal` aborts; which of the two, the caller reads off the signal. */
export function sleep(ms: number, signal: AbortSignal, clock: Clock = systemClock): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const finish = () => {
      cancel()
      signal.removeEventListener('abort', finish)
      resolve()
    }
    const cancel = clock.after(ms, finish)
    signal.addEventListener('abort', finish)
  })
}
