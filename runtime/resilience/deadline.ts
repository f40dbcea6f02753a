/** The work took longer than it may. */
export class DeadlineExceeded extends Error {
  constructor(milliseconds: number) {
    super(`no result within ${milliseconds} ms`)
    this.name = 'DeadlineExceeded'
  }
}

/**
 * Does the work within so many milliseconds. Its signal aborts at the deadline, or with `outer`; the caller is answered then
 * whether or not the work heeds it, with `DeadlineExceeded` or with the reason of `outer`.
 */
export async function withDeadline<T>(milliseconds: number, work: (signal: AbortSignal) => Promise<T>, outer?: AbortSignal): Promise<T> {
  outer?.throwIfAborted()
  const controller = new AbortController()
  const { promise: ended, reject } = Promise.withResolvers<never>()
  const end = (reason: unknown) => {
    controller.abort(reason)
    reject(reason)
  }
  const timer = setTimeout(() => end(new DeadlineExceeded(milliseconds)), milliseconds)
  const abort = () => end(outer?.reason)
  outer?.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work(controller.signal), ended])
  } finally {
    clearTimeout(timer)
    outer?.removeEventListener('abort', abort)
  }
}
