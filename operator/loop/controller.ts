import { channel } from 'node:diagnostics_channel'
import type { Log } from '../../config/log.ts'
import type { Backoff } from './backoff.ts'
import { type Clock, sleep, systemClock } from './clock.ts'
import { type Deadline, deadline } from './deadline.ts'
import { type Next, type Priority, Queue } from './queue.ts'

/** What a pass says of its key. `wait`: nothing to do until something changes. A failure is thrown. */
export type Result = { kind: 'done' } | { kind: 'requeue'; afterMs: number } | { kind: 'wait' }

/** How a controller runs; times are milliseconds. */
export type ControllerOptions = {
  /** Names the controller in logs and metrics: the kind, in lower case. */
  name: string
  /**
   * Makes the world of one key as it should be. Must end soon after `signal` aborts. A pass that has nothing more to do than to wait for what
   * others wait for too, and to say how it went, may `leave`: its place goes to another key, its own stays taken.
   */
  reconcile: (key: string, signal: AbortSignal, leave: () => void) => Promise<Result>
  /** Every key there is, for the resync. */
  keys: () => Iterable<string>
  /** Passes at once in each lane (8). */
  workers?: number
  /** The lane of a key, for instance its Shard: slow passes of one lane take no place from another. One lane when left out. */
  lane?: (key: string) => string
  /** How often all keys are looked at without a change (10 minutes), give or take a tenth. */
  resyncMs?: number
  /** After this a pass's signal aborts and the pass counts as failed (2 minutes). */
  deadlineMs?: number
  /** What a pass may take after its signal aborted before its place is given away (3 s: within what lies between losing a Lease and another holding it). */
  graceMs?: number
  backoff?: Backoff
  /** A change wakes a failing key at the earliest so long after its last pass (1 s). */
  wakeMs?: number
  signal: AbortSignal
  log: Log
  clock?: Clock
  random?: () => number
}

/** A controller that runs. */
export type Controller = {
  /** Asks for a pass of a key; many askings before the pass begins are one. `wanted`: see `Queue.add`. */
  enqueue: (key: string, priority?: Priority, wanted?: () => boolean) => void
  /** Keys that wait for a free place. */
  depth: () => number
  /** Passes that did not end when told to, with the milliseconds since they began: their keys are not served until they end or the process does. */
  stuck: () => { key: string; ms: number }[]
  /** Resolves after `signal` has aborted and the passes have ended, or had the grace time to. Never rejects. */
  done: Promise<void>
}

/** Depth of a queue after each change of it: `{ controller, depth }`. */
export const workqueueChannel = channel('tenantry:workqueue')

/** The end of each pass: `{ controller, key, result, durationMs }`, result one of done, requeue, wait, error, timeout. */
export const reconcileChannel = channel('tenantry:reconcile')

/** So many passes at most have left their places: should what they wait for never come, no more are begun than that. */
const LEFT = 256

type Outcome = { result: Result['kind'] | 'error' | 'timeout'; next: Next; error?: unknown }

/**
 * Runs `reconcile` for the keys that are enqueued: one pass per key at a time, failing keys with a backoff of their own, changes before
 * resyncs. Nothing a pass does or throws ends the loop.
 *
 * A promise cannot be killed. A pass that ignores its aborted signal gives its place to others after the grace time, but its key
 * stays taken: two passes of one key would write over each other. `stuck` tells of it, and whoever watches over the process may end it.
 */
export function runController(options: ControllerOptions): Controller {
  const { name, reconcile, keys, workers = 8, lane = () => '', resyncMs = 600_000, deadlineMs = 120_000, graceMs = 3_000 } = options
  const {
    backoff = { baseMs: 200, capMs: 60_000, jitter: 0.3 },
    wakeMs = 1_000,
    signal,
    log,
    clock = systemClock,
    random = Math.random,
  } = options
  const running = new Map<string, { since: number; ended: Promise<void> }>()
  const left = new Set<string>()

  const queue = new Queue({ clock, backoff, random, laneWidth: workers, lane: laneOf, wakeMs, onReady: schedule })
  let scheduled = false

  function laneOf(key: string): string {
    try {
      return lane(key)
    } catch (error) {
      log.error({ controller: name, key, err: error }, 'the lane of a key could not be told')
      return ''
    }
  }

  /** Passes begin after the code that asked for them has had its say: a burst of askings is one pass, and changes in it overtake resyncs. */
  function schedule(): void {
    if (scheduled) return
    scheduled = true
    queueMicrotask(pump)
  }

  function pump(): void {
    scheduled = false
    for (let key = next(); key !== undefined; key = next()) start(key)
    workqueueChannel.publish({ controller: name, depth: queue.depth() })
  }

  function next(): string | undefined {
    return signal.aborted ? undefined : queue.take()
  }

  function start(key: string): void {
    running.set(key, { since: clock.now(), ended: pass(key) })
  }

  async function pass(key: string): Promise<void> {
    using limit = deadline(`${name} ${key}`, deadlineMs, signal, clock)
    const since = clock.now()
    const letGo = watchOver(key, limit)
    const outcome = await attempt(key, limit)
    letGo()
    running.delete(key)
    left.delete(key)
    report(key, outcome, clock.now() - since)
    queue.done(key, outcome.next)
  }

  async function attempt(key: string, limit: Deadline): Promise<Outcome> {
    try {
      const result = await reconcile(key, limit.signal, () => leave(key))
      return { result: result.kind, next: result.kind === 'requeue' ? { kind: 'again', afterMs: result.afterMs } : { kind: 'rest' } }
    } catch (error) {
      return { result: limit.expired() ? 'timeout' : 'error', next: { kind: 'failed' }, error }
    }
  }

  function leave(key: string): void {
    if (left.size >= LEFT) return
    left.add(key)
    queue.abandon(key)
  }

  /** Frees the place of a pass that goes on after its signal aborted; returns how to call the watch off. */
  function watchOver(key: string, limit: Deadline): () => void {
    let cancel = () => {}
    const onAbort = () => {
      cancel = clock.after(graceMs, () => {
        log.error({ controller: name, key, graceMs }, 'a pass does not end after its deadline; its key waits for it')
        queue.abandon(key)
      })
    }
    limit.signal.addEventListener('abort', onAbort, { once: true })
    return () => {
      limit.signal.removeEventListener('abort', onAbort)
      cancel()
    }
  }

  function report(key: string, { result, error }: Outcome, durationMs: number): void {
    reconcileChannel.publish({ controller: name, key, result, durationMs })
    if (error !== undefined && !signal.aborted) log.warn({ controller: name, key, result, durationMs, err: error }, 'a pass failed')
  }

  function resync(): void {
    try {
      for (const key of keys()) queue.add(key, 'resync')
    } catch (error) {
      log.error({ controller: name, err: error }, 'the keys for the resync could not be told')
    }
  }

  async function resyncForever(): Promise<void> {
    while (!signal.aborted) {
      await sleep(resyncMs * (0.9 + 0.2 * random()), signal, clock)
      if (!signal.aborted) resync()
    }
  }

  async function finish(): Promise<void> {
    await resyncForever()
    queue.close()
    const over = new AbortController()
    await Promise.race([Promise.all([...running.values()].map((pass) => pass.ended)), sleep(graceMs, over.signal, clock)])
    over.abort()
  }

  return {
    enqueue: (key, priority, wanted) => {
      if (!signal.aborted) queue.add(key, priority, wanted)
    },
    depth: () => queue.depth(),
    stuck: () => [...running].map(([key, { since }]) => ({ key, ms: clock.now() - since })).filter(({ ms }) => ms > deadlineMs + graceMs),
    done: finish(),
  }
}
