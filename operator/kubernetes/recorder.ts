import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Log } from '../../config/log.ts'
import { type Clock, systemClock } from '../loop/clock.ts'
import { isStatus } from './api-error.ts'
import type { Client } from './client.ts'
import { type AnyObject, EVENTS, type Event, type Manifest } from './object.ts'

/** Tells people what was done, as Kubernetes Events on the object. */
export type Recorder = {
  /**
   * Resolves when the Event is written. Never rejects: one that cannot be written is logged and forgotten. `reason` is CamelCase; of
   * `message` 1,024 characters are kept.
   */
  record: (object: AnyObject, type: Event['type'], reason: string, message: string) => Promise<void>
}

type Seen = { at: number; pending: number }

/** Events that wait to be written; what comes then is forgotten: what is told so late helps nobody. */
const WAITING = 4096

const REST = 4

/** The API server forgets Events after an hour; so is what was seen, at the latest when there is this much of it. */
const REMEMBERED = 4096

/**
 * Makes a recorder. The same again (object, type, reason, message) never makes a second Event, also not after a restart: it raises the
 * first one's count, at most once in `repeatMs` (a minute), so that a pass that fails over and over costs no flood of writes. One Event is
 * written at a time, in the order they came, and then the recorder rests for four times as long as that took: when a thousand tenants come
 * at once, the API server's time is for what they wait for.
 */
export function createRecorder(client: Client, component: string, options: { log: Log; repeatMs?: number; clock?: Clock }): Recorder {
  const { log, repeatMs = 60_000, clock = systemClock } = options
  const seen = new Map<string, Seen>()
  let waiting = 0
  let last: Promise<void> = Promise.resolve()

  async function write(object: AnyObject, type: Event['type'], reason: string, message: string): Promise<void> {
    const name = nameOf(object, type, reason, message)
    const before = seen.get(name)
    if (before !== undefined && clock.now() - before.at < repeatMs) {
      before.pending += 1
      return
    }
    remember(name)
    const times = 1 + (before?.pending ?? 0)
    const raised = before !== undefined && (await raise(object.metadata.namespace, name, times))
    if (!raised) await create(object, eventOf(object, name, type, reason, message, component, times), times)
  }

  function remember(name: string): void {
    seen.delete(name)
    seen.set(name, { at: clock.now(), pending: 0 })
    const oldest = seen.keys().next().value
    if (seen.size > REMEMBERED && oldest !== undefined) seen.delete(oldest)
  }

  async function create({ metadata: { namespace } }: AnyObject, event: Manifest<Event>, times: number): Promise<void> {
    try {
      await client.create(EVENTS, namespace, event)
    } catch (error) {
      if (!isStatus(error, 409)) throw error
      await raise(namespace, event.metadata.name, times)
    }
  }

  async function raise(namespace: string, name: string, times: number): Promise<boolean> {
    const event = await client.get(EVENTS, namespace, name)
    if (event === undefined) return false
    await client.patch(EVENTS, namespace, name, { count: event.count + times, lastTimestamp: seconds() })
    return true
  }

  async function attempt(object: AnyObject, type: Event['type'], reason: string, message: string): Promise<void> {
    try {
      await write(object, type, reason, message.slice(0, 1024))
    } catch (error) {
      log.warn({ kind: object.kind, name: object.metadata.name, reason, err: error }, 'an Event could not be written')
    } finally {
      waiting -= 1
    }
  }

  return {
    record: async (...event) => {
      const [{ kind, metadata }, , reason, message] = event
      log.debug({ object: `${kind}/${metadata.name}`, reason, message }, 'told')
      if (waiting >= WAITING) return
      waiting += 1
      const turn = last.then(async () => {
        const since = performance.now()
        await attempt(...event)
        return REST * (performance.now() - since)
      })
      last = turn.then((ms) => setTimeout(ms, undefined, { ref: false }))
      await turn
    },
  }
}

function nameOf({ metadata }: AnyObject, ...parts: string[]): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([metadata.uid, ...parts]))
    .digest('hex')
  return `${metadata.name.slice(0, 200)}.${hash.slice(0, 16)}`
}

function eventOf(
  object: AnyObject,
  eventName: string,
  type: Event['type'],
  reason: string,
  message: string,
  component: string,
  count: number,
): Manifest<Event> {
  const { name, namespace, uid, resourceVersion } = object.metadata
  const now = seconds()
  return {
    metadata: { name: eventName },
    involvedObject: { apiVersion: object.apiVersion, kind: object.kind, name, namespace, uid, resourceVersion },
    type,
    reason,
    message,
    count,
    firstTimestamp: now,
    lastTimestamp: now,
    source: { component },
    reportingComponent: component,
    reportingInstance: component,
  }
}

function seconds(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`
}
