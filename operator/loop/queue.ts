import { type Backoff, backoffDelay } from './backoff.ts'
import type { Clock } from './clock.ts'

/** A change of the object goes before a periodic resync. */
export type Priority = 'change' | 'resync'

/** What becomes of a key after its pass. */
export type Next = { kind: 'rest' } | { kind: 'again'; afterMs: number } | { kind: 'failed' }

/** How a queue behaves; see `createQueue`. */
export type QueueOptions = {
  clock: Clock
  backoff: Backoff
  random?: () => number
  /** Passes at once in one lane. */
  laneWidth: number
  /** The lane of a key, read when it becomes ready. */
  lane: (key: string) => string
  /** A change wakes a failing key, but not sooner than this after its last pass. */
  wakeMs: number
  /** Told that `take` may have something; never called from inside `take`. */
  onReady: () => void
}

type Entry = {
  /** The lane it waits in or holds a place of. */
  lane: string | undefined
  /** Asked for again while its pass was running; for what it was asked may be done by then. */
  dirty: { priority: Priority; wanted: () => boolean } | undefined
  state: 'resting' | 'waiting' | 'ready' | 'running'
  failures: number
  endedAt: number
  dueAt: number
  cancel: () => void
}

type Lane = { change: Set<string>; resync: Set<string>; running: number }

/**
 * A queue of keys. A key stands in it once however often it is added, and is handed out again only after its pass is done: passes of one
 * key never overlap. What is added during the pass runs after it. Failing keys come back after an exponential backoff of their
 * own. Lanes are bulkheads: `laneWidth` slow passes of one lane leave the other lanes their full width.
 */
export class Queue {
  readonly #options: QueueOptions
  readonly #entries = new Map<string, Entry>()
  readonly #lanes = new Map<string, Lane>()
  #closed = false

  constructor(options: QueueOptions) {
    this.#options = options
  }

  /** Keys that wait for a free place, those in backoff not counted. */
  depth(): number {
    let depth = 0
    for (const lane of this.#lanes.values()) depth += lane.change.size + lane.resync.size
    return depth
  }

  /**
   * Asks for a pass. A resync does not disturb a key that waits after a failure; one that asked to come again
   * is looked at like any other. A change brings both forward. While a pass runs, `wanted` is asked
   * after its end: what looks like a change may be the pass's own write.
   */
  add(key: string, priority: Priority = 'change', wanted: () => boolean = () => true): void {
    const isRunning = this.#entries.get(key)?.state === 'running'
    if (this.#closed || (!isRunning && !wanted())) return
    const entry = this.#entry(key)
    if (isRunning) entry.dirty = merge(entry.dirty, { priority, wanted })
    else if (entry.state === 'resting') this.#ready(key, entry, priority)
    else if (priority === 'change') this.#bringForward(key, entry)
    else if (entry.state === 'waiting' && entry.failures === 0) this.#ready(key, entry, priority)
  }

  /** Hands out the next key whose lane has room, changes first, lanes in turn; undefined: nothing to do now. Every key taken must be `done`. */
  take(): string | undefined {
    for (const [name, lane] of this.#lanes) {
      if (lane.running >= this.#options.laneWidth) continue
      const key = first(lane.change) ?? first(lane.resync)
      if (key === undefined) continue
      this.#start(key, lane)
      this.#lanes.delete(name)
      this.#lanes.set(name, lane)
      return key
    }
    return undefined
  }

  /** Gives back the place of a pass that does not end, or only waits. Its key stays taken until `done`: nothing may run beside the pass. */
  abandon(key: string): void {
    this.#leaveLane(this.#entry(key))
    this.#options.onReady()
  }

  /** Ends the pass of a key. */
  done(key: string, next: Next): void {
    if (this.#closed) return
    const entry = this.#entry(key)
    const { clock, backoff, random } = this.#options
    this.#leaveLane(entry)
    entry.endedAt = clock.now()
    entry.failures = next.kind === 'failed' ? entry.failures + 1 : 0
    entry.state = 'resting'
    if (next.kind === 'failed') this.#wait(key, entry, backoffDelay(backoff, entry.failures, random))
    if (next.kind === 'again') this.#wait(key, entry, next.afterMs)
    const dirty = entry.dirty
    entry.dirty = undefined
    if (dirty?.wanted()) this.add(key, dirty.priority)
    else if (next.kind === 'rest') this.#entries.delete(key)
    this.#options.onReady()
  }

  /** Forgets every key and takes no more; passes that run may still be `done`. */
  close(): void {
    this.#closed = true
    for (const entry of this.#entries.values()) entry.cancel()
    this.#entries.clear()
    this.#lanes.clear()
  }

  #entry(key: string): Entry {
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const entry: Entry = { lane: undefined, dirty: undefined, state: 'resting', failures: 0, endedAt: 0, dueAt: 0, cancel: () => {} }
    this.#entries.set(key, entry)
    return entry
  }

  #wait(key: string, entry: Entry, ms: number): void {
    const { clock } = this.#options
    entry.cancel()
    entry.state = 'waiting'
    entry.dueAt = clock.now() + ms
    entry.cancel = clock.after(ms, () => this.#ready(key, entry, 'change'))
  }

  #bringForward(key: string, entry: Entry): void {
    const { clock, wakeMs } = this.#options
    if (entry.state === 'ready') {
      const lane = entry.lane === undefined ? undefined : this.#lanes.get(entry.lane)
      lane?.resync.delete(key)
      lane?.change.add(key)
      return
    }
    const earliest = entry.failures === 0 ? 0 : entry.endedAt + wakeMs
    if (earliest <= clock.now()) this.#ready(key, entry, 'change')
    else if (earliest < entry.dueAt) this.#wait(key, entry, earliest - clock.now())
  }

  #ready(key: string, entry: Entry, priority: Priority): void {
    entry.cancel()
    entry.state = 'ready'
    const name = this.#options.lane(key)
    const lane = this.#lanes.get(name) ?? { change: new Set<string>(), resync: new Set<string>(), running: 0 }
    this.#lanes.set(name, lane)
    entry.lane = name
    lane[priority].add(key)
    this.#options.onReady()
  }

  #start(key: string, lane: Lane): void {
    lane.change.delete(key)
    lane.resync.delete(key)
    lane.running += 1
    this.#entry(key).state = 'running'
  }

  #leaveLane(entry: Entry): void {
    if (entry.lane === undefined) return
    const lane = this.#lanes.get(entry.lane)
    if (lane !== undefined) lane.running -= 1
    if (lane?.running === 0 && lane.change.size === 0 && lane.resync.size === 0) this.#lanes.delete(entry.lane)
    entry.lane = undefined
  }
}

function merge(before: Entry['dirty'], { priority, wanted }: NonNullable<Entry['dirty']>): Entry['dirty'] {
  if (before === undefined) return { priority, wanted }
  return { priority: before.priority === 'change' ? 'change' : priority, wanted: () => before.wanted() || wanted() }
}

function first(keys: Set<string>): string | undefined {
  return keys.values().next().value
}
