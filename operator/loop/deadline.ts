import { type Clock, systemClock } from './clock.ts'

/** A signal that ends by itself; dispose of it (`using`) to let go of the timer and of the parent signal. */
export type Deadline = Disposable & {
  signal: AbortSignal
  /** True when the time ran out, false while it runs and when the parent signal aborted first. */
  expired: () => boolean
  /** Starts the time anew: for streams, where only silence counts. */
  extend: () => void
}

/** The reason of a signal whose deadline ran out. */
export class DeadlineExceeded extends Error {
  constructor(what: string, ms: number) {
    super(`${what}: nothing for ${ms} ms`)
    this.name = 'DeadlineExceeded'
  }
}

/**
 * Gives a signal that aborts when `parent` does, with its reason, or after `ms`, with DeadlineExceeded. Unlike
 * AbortSignal.any and AbortSignal.timeout it leaves nothing behind on a parent that lives as long as the process.
 */
export function deadline(what: string, ms: number, parent?: AbortSignal, clock: Clock = systemClock): Deadline {
  const controller = new AbortController()
  let expired = false
  const expire = () => {
    expired = true
    controller.abort(new DeadlineExceeded(what, ms))
  }
  const follow = () => controller.abort(parent?.reason)
  let cancel = clock.after(ms, expire)
  if (parent?.aborted) follow()
  else parent?.addEventListener('abort', follow)
  return {
    signal: controller.signal,
    expired: () => expired,
    extend: () => {
      if (controller.signal.aborted) return
      cancel()
      cancel = clock.after(ms, expire)
    },
    [Symbol.dispose]: () => {
      cancel()
      parent?.removeEventListener('abort', follow)
    },
  }
}
