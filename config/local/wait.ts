import { setTimeout as sleep } from 'node:timers/promises'

/** What is waited for, and how long. */
export type Waiting = { everyMs?: number; deadlineMs: number; signal?: AbortSignal | undefined }

/**
 * Asks again and again until the answer is something else than undefined or false, and returns it; undefined when the deadline has
 * passed. Throws what the question throws, and the signal's reason when it is aborted.
 */
export async function until<T>(question: () => Promise<T | undefined | false>, waiting: Waiting): Promise<T | undefined> {
  const end = performance.now() + waiting.deadlineMs
  for (;;) {
    waiting.signal?.throwIfAborted()
    const answer = await question()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() >= end) return undefined
    await sleep(waiting.everyMs ?? 25, undefined, waiting.signal === undefined ? {} : { signal: waiting.signal })
  }
}
