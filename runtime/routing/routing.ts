import { channel } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../config/log.ts'
import { type Credentials, type Parsed, parseCredentials, parseRouting, type RoutingDocument } from '../../config/routing.ts'
import { createLook } from './look.ts'
import type { RoutingSink, RoutingSource } from './source.ts'
import { buildTable, EMPTY_TABLE, type RoutingTable } from './table.ts'

/** A look that takes longer has failed, in milliseconds. */
const LOOK_DEADLINE = 3_000

const faults = channel('tenantry:routing.fault')

/** The routing config as it stands, followed for ever. */
export type Routing = {
  /** The table now. It never changes; the next one is another value. */
  table: () => RoutingTable
  /** Resolves after the routing config was read afresh, beginning after this call. Throws when it cannot be read. */
  look: () => Promise<void>
  /** True once all of it has been read for the first time. */
  loaded: () => boolean
  /** Seconds since the table was last known to be what stands there; Infinity before the first time. */
  ageSeconds: () => number
  close: () => Promise<void>
}

/** Follows `source`. A document that does not parse leaves its last good version in force, with an error in the log and in the metrics. */
export function followRouting(source: RoutingSource, log: Log): Routing {
  const state = new RoutingState(log)
  source.start(state)
  const look = createLook({
    read: async () => {
      const before = state.revision
      await source.read(AbortSignal.timeout(LOOK_DEADLINE))
      return state.revision !== before
    },
    now: () => performance.now(),
    sleep: (milliseconds) => sleep(milliseconds, undefined, { ref: false }),
  })
  return {
    table: () => state.table(),
    look,
    loaded: () => state.currentAt !== undefined,
    ageSeconds: () => (state.currentAt === undefined ? Number.POSITIVE_INFINITY : (performance.now() - state.currentAt) / 1_000),
    close: () => source.close(),
  }
}

class RoutingState implements RoutingSink {
  /** Rises with every change. */
  revision = 0
  currentAt: number | undefined
  readonly #log: Log
  readonly #texts = new Map<string, string>()
  readonly #documents = new Map<string, RoutingDocument>()
  #credentials = new Map<string, Credentials>()
  #table = EMPTY_TABLE
  #builtAt = 0

  constructor(log: Log) {
    this.#log = log
  }

  // Built when somebody needs it, so that twenty documents that arrive together are joined once.
  table(): RoutingTable {
    if (this.#builtAt !== this.revision) {
      this.#builtAt = this.revision
      this.#table = buildTable(this.#documents.values(), new Map(this.#credentials), this.#table.shards)
      for (const fault of this.#table.faults) this.#fault('(all)', [fault])
    }
    return this.#table
  }

  document(name: string, text: string | undefined): void {
    if (text === undefined) {
      if (this.#texts.delete(name)) this.#fault(name, ['is gone; its last good version stays in force'])
      return
    }
    this.#take(name, text, parseRouting, (document) => this.#documents.set(name, document))
  }

  credentials(texts: ReadonlyMap<string, string> | undefined): void {
    if (texts === undefined) return
    for (const shard of [...this.#credentials.keys()].filter((name) => !texts.has(name))) {
      this.#credentials.delete(shard)
      this.#texts.delete(`credentials/${shard}`)
      this.revision += 1
    }
    for (const [shard, text] of texts) {
      this.#take(`credentials/${shard}`, text, parseCredentials, (value) => this.#credentials.set(shard, value))
    }
  }

  current(): void {
    this.currentAt = performance.now()
  }

  #take<T>(name: string, text: string, parse: (text: string) => Parsed<T>, keep: (value: T) => void): void {
    if (this.#texts.get(name) === text) return
    this.#texts.set(name, text)
    const parsed = parse(text)
    if (!parsed.ok) {
      this.#fault(name, parsed.faults, parsed.newer)
      return
    }
    keep(parsed.value)
    this.revision += 1
  }

  #fault(document: string, messages: readonly string[], newer = false): void {
    faults.publish({ document, reason: newer ? 'newer' : 'invalid' })
    this.#log.error({ document, faults: messages }, newer ? NEWER : 'a routing document cannot be used; the last good one stays in force')
  }
}

const NEWER = 'a routing document is of a newer operator: update this runtime; until then the last good one stays in force'
