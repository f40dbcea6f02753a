import type { Clock } from '../../operator/loop/clock.ts'

/** A clock that a test holds in its hand. */
export type HandClock = Clock & {
  /** Lets `ms` pass: every timer that comes due runs at its own moment, and what it awaits gets its turn before the next. */
  pass: (ms: number) => Promise<void>
  /** Timers that are set. */
  pending: () => number
}

/** Makes a clock that stands at 0. */
export function handClock(): HandClock {
  const timers = new Map<symbol, { at: number; task: () => void }>()
  let now = 0

  function nextBefore(end: number): { id: symbol; at: number; task: () => void } | undefined {
    const due = [...timers].map(([id, timer]) => ({ id, ...timer })).filter(({ at }) => at <= end)
    return due.sort((a, b) => a.at - b.at)[0]
  }

  return {
    now: () => now,
    after: (ms, task) => {
      const id = Symbol('timer')
      timers.set(id, { at: now + ms, task })
      return () => void timers.delete(id)
    },
    pass: async (ms) => {
      const end = now + ms
      await settle()
      for (let timer = nextBefore(end); timer !== undefined; timer = nextBefore(end)) {
        timers.delete(timer.id)
        now = timer.at
        timer.task()
        await settle()
      }
      now = end
    },
    pending: () => timers.size,
  }
}

/** Lets every promise that is ready go on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
