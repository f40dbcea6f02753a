/** The work took longer than it may. */
export class DeadlineExceeded extends Error {
  constructor(milliseconds: number) {
    super(`no result within ${milliseconds} ms`)
    this.name = 'DeadlineExceeded'
  }
}

/** Watches over what is under way and may take equally long, with one timer for all: one for each would cost a fiftieth of a request. */
export class Deadlines<Work> {
  readonly #milliseconds: number
  readonly #onLate: (work: Work) => void
  // They end in the order in which they began.
  readonly #ends = new Map<Work, number>()
  #timer: NodeJS.Timeout | undefined

  /** Calls back, once, with each work that has not ended after so many milliseconds. */
  constructor(milliseconds: number, onLate: (work: Work) => void) {
    this.#milliseconds = milliseconds
    this.#onLate = onLate
  }

  begin(work: Work): void {
    this.#ends.set(work, performance.now() + this.#milliseconds)
    this.#timer ??= this.#wait(this.#milliseconds)
  }

  end(work: Work): void {
    this.#ends.delete(work)
  }

  #wait(milliseconds: number): NodeJS.Timeout {
    // With nothing else to do the process may end.
    return setTimeout(() => this.#look(), milliseconds).unref()
  }

  #look(): void {
    const now = performance.now()
    this.#timer = undefined
    for (const [work, end] of this.#ends) {
      if (end > now) {
        this.#timer ??= this.#wait(end - now)
        return
      }
      this.#ends.delete(work)
      this.#onLate(work)
    }
  }
}

/** Does the work within a time, as `createDeadline` says. */
export type WithDeadline = <T>(work: () => Promise<T>, outer?: AbortSignal) => Promise<T>

/**
 * Lets work take so many milliseconds. The work itself goes on after that, or after `outer` aborted; the caller is answered then,
 * with `DeadlineExceeded`, of which `onLate` is told, or with the reason of `outer`.
 */
export function createDeadline(milliseconds: number, onLate: () => void = () => undefined): WithDeadline {
  const deadlines = new Deadlines<(error: unknown) => void>(milliseconds, (fail) => {
    fail(new DeadlineExceeded(milliseconds))
    onLate()
  })
  return (work, outer) =>
    new Promise((resolve, reject) => {
      outer?.throwIfAborted()
      const abort = () => fail(outer?.reason)
      const end = () => {
        deadlines.end(fail)
        outer?.removeEventListener('abort', abort)
      }
      const fail = (error: unknown) => {
        end()
        reject(error)
      }
      deadlines.begin(fail)
      outer?.addEventListener('abort', abort, { once: true })
      work().then((result) => {
        end()
        resolve(result)
      }, fail)
    })
}
