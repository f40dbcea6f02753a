import { channel } from 'node:diagnostics_channel'
import type { Log } from '../../config/log.ts'
import { type Backoff, backoffDelay } from '../loop/backoff.ts'
import { type Clock, sleep, systemClock } from '../loop/clock.ts'
import { deadline } from '../loop/deadline.ts'
import type { Priority } from '../loop/queue.ts'
import { ApiError, isStatus } from './api-error.ts'
import type { Client } from './client.ts'
import { type IndexBy, Indexed } from './indexed.ts'
import type { AnyObject, Resource } from './object.ts'
import type { WatchEvent } from './watch-stream.ts'

/** What the API server has of one resource in one namespace, as far as this process has heard. Never change an object out of it. */
export type Store<O extends AnyObject> = {
  get: (name: string) => O | undefined
  list: () => O[]
  /** Those that `indexBy` puts under this value, by name. */
  under: (value: string) => ReadonlyMap<string, O>
  /** Resolves when the first list is in; rejects only when the signal aborts before. */
  synced: Promise<void>
  /** Milliseconds since the API server last gave a sign of life for this watch: how old the store may be. */
  age: () => number
}

/** How a watch runs; times are milliseconds. */
export type WatchOptions<O extends AnyObject = AnyObject> = {
  labelSelector?: string
  fieldSelector?: string
  /** What objects are found by besides their names. */
  indexBy?: IndexBy<O>
  /** Told of every name that was added, changed or deleted; what the first list brings is no change but a resync. What it throws is logged. */
  onChange: (name: string, priority: Priority) => void
  /** The server ends each watch after so many seconds (30, and not more than `relistMs`), and it is resumed where it ended. */
  timeoutSeconds?: number
  /** A watch that has brought not one byte for so long is given up (40 s). Must be longer than `timeoutSeconds`. */
  idleMs?: number
  /** Everything is listed again and compared when a watch ends after so long (5 minutes): should an event have got lost on the way, this makes it good. */
  relistMs?: number
  backoff?: Backoff
  signal: AbortSignal
  log: Log
  clock?: Clock
}

/**
 * What happens to watches: `{ resource, event, reason }`. `event` is `listed`, with reason `start`, `expired`, `failing` or `periodic`, or
 * `restarted`, with the error's name or HTTP status as reason. A watch that ends because its time is over is no event.
 */
export const watchChannel = channel('tenantry:watch')

/** A stream that ends sooner than this without an event has failed, whatever it says. */
const SHORT_MS = 1_000

/**
 * Keeps a store of a resource's objects in a namespace: lists once, then watches from there, and lists again, with a diff, when the
 * server no longer has the history (410), when resuming fails again and again, and every `relistMs`. Whatever goes wrong, the watch is
 * resumed after a jittered backoff, for ever.
 *
 * How long it may be blind: bookmarks come about once a minute only, so the server is asked to end each watch after `timeoutSeconds`, and
 * a silence of `idleMs` means that the connection is dead. So a change is seen at most 40.5 s after the connection died (`idleMs` and one
 * backoff), and at most 10 s (the backoff's cap) after a server that was away is back. A single event that got lost while the connection
 * lived is made good after `relistMs` and one watch, 5.5 minutes. While all is well, `age` stays below `timeoutSeconds` and a little.
 */
export function watch<O extends AnyObject>(client: Client, resource: Resource<O>, namespace: string, options: WatchOptions<O>): Store<O> {
  const { signal, log, clock = systemClock, idleMs = 40_000, relistMs = 300_000 } = options
  const { timeoutSeconds = Math.min(30, Math.ceil(relistMs / 1_000)) } = options
  const { backoff = { baseMs: 500, capMs: 10_000, jitter: 0.5 }, onChange, labelSelector, fieldSelector } = options
  const objects = new Indexed(options.indexBy)
  const { promise: synced, resolve: resolveSynced, reject: rejectSynced } = Promise.withResolvers<void>()
  const about = { resource: resource.plural, namespace }
  let version: string | undefined
  let reason = 'start'
  let failures = 0
  let aliveAt = clock.now()
  let listedAt = aliveAt

  function alive(): void {
    aliveAt = clock.now()
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        version ??= await relist()
        await follow(version)
        if (clock.now() - listedAt >= relistMs) listAgain('periodic')
      } catch (error) {
        if (!signal.aborted) await recover(error)
      }
    }
    rejectSynced(signal.reason)
  }

  function listAgain(why: string): void {
    version = undefined
    reason = why
  }

  async function recover(error: unknown): Promise<void> {
    failures += 1
    if (isStatus(error, 410)) listAgain('expired')
    else if (failures % RESUMPTIONS === 0) listAgain('failing')
    const asked = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0
    const delayMs = Math.max(backoffDelay(backoff, failures), Math.min(asked, backoff.capMs))
    watchChannel.publish({ resource: resource.plural, event: 'restarted', reason: reasonOf(error) })
    log.warn({ ...about, err: error, failures, delayMs, ageMs: clock.now() - aliveAt }, 'a watch failed and is resumed')
    await sleep(delayMs, signal, clock)
  }

  async function relist(): Promise<string> {
    const { items, resourceVersion } = await client.list(resource, namespace, { labelSelector, fieldSelector, signal })
    alive()
    listedAt = clock.now()
    const names = new Set(items.map((item) => item.metadata.name))
    for (const { metadata } of objects.list()) if (!names.has(metadata.name)) remove(metadata.name)
    for (const item of items) put(item, reason === 'start' ? 'resync' : 'change')
    watchChannel.publish({ resource: resource.plural, event: 'listed', reason })
    resolveSynced()
    return resourceVersion
  }

  async function follow(resourceVersion: string): Promise<void> {
    using idle = deadline(`watch of ${resource.plural}`, idleMs, signal, clock)
    const since = clock.now()
    let seen = 0
    const onData = () => {
      alive()
      idle.extend()
    }
    const request = { labelSelector, fieldSelector, resourceVersion, timeoutSeconds, signal: idle.signal, onData }
    for await (const event of client.watch(resource, namespace, request)) {
      take(event)
      seen += 1
      failures = 0
    }
    if (seen === 0 && clock.now() - since < SHORT_MS) throw new ShortWatch()
    failures = 0
  }

  function take({ type, object }: WatchEvent<O>): void {
    if (type === 'DELETED') remove(object.metadata.name)
    else if (type !== 'BOOKMARK') put(object)
    version = object.metadata.resourceVersion
  }

  function put(object: O, priority: Priority = 'change'): void {
    const { name, uid, resourceVersion } = object.metadata
    const before = objects.get(name)?.metadata
    if (before?.uid === uid && before.resourceVersion === resourceVersion) return
    objects.put(object)
    tell(name, priority)
  }

  // Told of also when nothing was known of it: then it is its coming that was lost.
  function remove(name: string): void {
    objects.remove(name)
    tell(name, 'change')
  }

  function tell(name: string, priority: Priority): void {
    const complain = (error: unknown) => log.error({ ...about, name, err: error }, 'a change could not be handed on')
    try {
      const told: unknown = onChange(name, priority)
      if (told instanceof Promise) told.catch(complain)
    } catch (error) {
      complain(error)
    }
  }

  synced.catch(() => {})
  void run()
  return {
    get: (name) => objects.get(name),
    list: () => objects.list(),
    under: (value) => objects.under(value),
    synced,
    age: () => clock.now() - aliveAt,
  }
}

/** After so many failures in a row it may be the place to resume from that is at fault, and everything is listed again. */
const RESUMPTIONS = 5

class ShortWatch extends Error {
  constructor() {
    super('the watch ended at once without an event')
    this.name = 'ShortWatch'
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Error) return 'status' in error ? String(error.status) : error.name
  return 'Unknown'
}
