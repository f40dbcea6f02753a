import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../config/log.ts'
import type { Jetstream } from './jetstream.ts'

/** `isKnown`: whether a tenant has a route; undefined while that cannot be told. */
export type DepartedOptions = {
  jetstream: Pick<Jetstream, 'tenants' | 'purge'>
  isKnown: (tenantUid: string) => boolean | undefined
  /** Between two looks, in milliseconds. */
  every?: number
  log: Log
}

const EVERY = 10 * 60_000

/**
 * Takes the events of tenants that are no more out of the stream. One that has no route at two looks in a row is gone: between the two,
 * routing that was read half or changed by mistake has been put right. Nothing is lost, since the event table is the truth. Any number of
 * replicas may do so at once. Gives what ends it.
 */
export function purgeDeparted({ jetstream, isKnown, every = EVERY, log }: DepartedOptions): () => Promise<void> {
  const stopped = new AbortController()
  let missing = new Set<string>()

  async function look(): Promise<void> {
    const gone = (await jetstream.tenants()).filter((uid) => isKnown(uid) === false)
    for (const uid of gone.filter((one) => missing.has(one))) {
      await jetstream.purge(uid)
      log.info({ tenant: uid }, 'the events of a tenant that is no more were taken out of the stream')
    }
    missing = new Set(gone)
  }

  async function lookForever(): Promise<void> {
    while (!stopped.signal.aborted) {
      await sleep(every, undefined, { signal: stopped.signal, ref: false }).catch(() => undefined)
      if (!stopped.signal.aborted) await look().catch((error: unknown) => log.warn({ error }, 'the stream could not be looked through'))
    }
  }

  const looking = lookForever()
  return async () => {
    stopped.abort()
    await looking
  }
}
