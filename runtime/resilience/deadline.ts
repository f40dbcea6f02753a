/** The work took longer than it may. */
export class DeadlineExceeded extends Error {
  constructor(milliseconds: number) {
    super(`no result within ${milliseconds} ms`)
    this.name = 'DeadlineExceeded'
  }
}

/**
 * Does the work within so many milliseconds. The work itself goes on after that, or after `outer` aborted; the caller is answered then,
 * with `DeadlineExceeded` or with the reason of `outer`.
 */
export function withDeadline<T>(milliseconds: number, work: () => Promise<T>, outer?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    outer?.throwIfAborted()
    const abort = () => end(() => reject(outer?.reason))
    const end = (answer: () => void) => {
      clearTimeout(timer)
      outer?.removeEventListener('abort', abort)
      answer()
    }
    const timer = setTimeout(() => end(() => reject(new DeadlineExceeded(milliseconds))), milliseconds)
    outer?.addEventListener('abort', abort, { once: true })
    work().then(
      (result) => end(() => resolve(result)),
      (error: unknown) => end(() => reject(error)),
    )
  })
}
