import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../config/log.ts'
import { bucketDocument, CREDENTIALS_SECRET, ROUTING_BUCKETS, ROUTING_KEY, SHARDS_DOCUMENT } from '../../config/routing.ts'
import { type ClusterAccess, ClusterClient, ClusterError, type ClusterObject, type Plural, type WatchEvent } from './cluster-client.ts'
import type { RoutingSink, RoutingSource } from './source.ts'

/** Waits between attempts, in milliseconds: full jitter, doubling. */
const BACKOFF = { least: 200, most: 10_000 }

/** How long one watch lasts at most, in seconds; then the object is read again. */
const WATCH = { least: 240, most: 480 }

/** A watch that ends sooner has failed, in milliseconds: to begin anew at once would be a hot loop. */
const SHORTEST_WATCH = 1_000

const READ_DEADLINE = 10_000

type Followed = { plural: Plural; name: string }

const FOLLOWED: readonly Followed[] = [
  { plural: 'configmaps', name: SHARDS_DOCUMENT },
  ...Array.from({ length: ROUTING_BUCKETS }, (_, index) => ({ plural: 'configmaps' as const, name: bucketDocument(index) })),
  { plural: 'secrets', name: CREDENTIALS_SECRET },
]

/**
 * Routing config in the cluster: a watch on each document by its name, since a Role can allow no less. A watch that fails, ends,
 * is too old (410) or falls silent begins anew with a fresh reading, for ever.
 */
export function clusterSource(access: ClusterAccess, log: Log): RoutingSource {
  const source = new ClusterSource(access, log)
  return {
    start: (sink) => source.start(sink),
    read: (signal) => source.read(signal),
    close: () => source.close(),
  }
}

class ClusterSource {
  readonly #client: ClusterClient
  readonly #log: Log
  readonly #ending = new AbortController()
  readonly #loops: Promise<void>[] = []
  /** Objects whose watch is open: when all are, a sign of life of the connection proves the table current. */
  readonly #watched = new Set<string>()
  /** What was told last, so that an answer that was overtaken is not told after a newer one. */
  readonly #versions = new Map<string, bigint>()
  #sink: RoutingSink | undefined

  constructor(access: ClusterAccess, log: Log) {
    this.#log = log
    setMaxListeners(0, this.#ending.signal)
    this.#client = new ClusterClient(access, () => this.#signOfLife())
  }

  start(sink: RoutingSink): void {
    this.#sink = sink
    for (const followed of FOLLOWED) this.#loops.push(this.#follow(followed))
  }

  async read(signal: AbortSignal): Promise<void> {
    const both = AbortSignal.any([signal, this.#ending.signal])
    setMaxListeners(0, both)
    const objects = await Promise.all(FOLLOWED.map(({ plural, name }) => this.#client.get(plural, name, both)))
    for (const [index, followed] of FOLLOWED.entries()) this.#tell(followed, objects[index])
    this.#sink?.current()
  }

  async close(): Promise<void> {
    this.#ending.abort()
    await this.#client.close()
    await Promise.allSettled(this.#loops)
  }

  async #follow(followed: Followed): Promise<void> {
    const { signal } = this.#ending
    for (let failures = 0; !signal.aborted; ) {
      try {
        await this.#watchOnce(followed, () => {
          failures = 0
        })
      } catch (error) {
        if (signal.aborted) return
        failures += 1
        const fields = { document: followed.name, failures, reason: error instanceof Error ? error.message : String(error) }
        if (failures === 1) this.#log.warn(fields, 'a routing watch has failed; the last good table stays in force')
        const wait = Math.min(BACKOFF.least * 2 ** Math.min(failures, 16), BACKOFF.most) * Math.random()
        await sleep(wait, undefined, { signal }).catch(() => undefined)
      } finally {
        this.#watched.delete(followed.name)
      }
    }
  }

  /** One fresh reading and one watch from there, until the API server ends it. */
  async #watchOnce(followed: Followed, onOpen: () => void): Promise<void> {
    const { plural, name } = followed
    const { signal } = this.#ending
    const object = await this.#client.get(plural, name, AbortSignal.any([signal, AbortSignal.timeout(READ_DEADLINE)]))
    this.#tell(followed, object)
    this.#watched.add(name)
    this.#signOfLife()
    const from = {
      resourceVersion: object?.metadata.resourceVersion,
      seconds: Math.round(WATCH.least + Math.random() * (WATCH.most - WATCH.least)),
    }
    const begunAt = performance.now()
    for await (const event of this.#client.watch(plural, name, from, signal)) {
      onOpen()
      this.#hear(followed, event)
    }
    if (performance.now() - begunAt < SHORTEST_WATCH) throw new Error('the watch ended as soon as it began')
  }

  #hear(followed: Followed, { type, object }: WatchEvent): void {
    if (type === 'ERROR') throw new ClusterError(object.code ?? 500, object.message ?? 'the watch has failed')
    if (type === 'BOOKMARK') return
    this.#tell(followed, type === 'DELETED' ? undefined : object)
  }

  #tell({ plural, name }: Followed, object: ClusterObject | undefined): void {
    if (object !== undefined && !this.#isNews(name, object.metadata.resourceVersion)) return
    if (plural === 'secrets') this.#sink?.credentials(object === undefined ? undefined : decoded(object))
    else this.#sink?.document(name, object?.data?.[ROUTING_KEY])
  }

  // The API promises since Kubernetes 1.35 that resource versions are numbers that rise.
  #isNews(name: string, resourceVersion: string): boolean {
    const version = BigInt(resourceVersion)
    if (version < (this.#versions.get(name) ?? 0n)) return false
    this.#versions.set(name, version)
    return true
  }

  #signOfLife(): void {
    if (this.#watched.size === FOLLOWED.length) this.#sink?.current()
  }
}

function decoded(secret: ClusterObject): Map<string, string> {
  return new Map(
    Object.entries(secret.data ?? {}).map(([key, value]) => [key.replace(/\.json$/, ''), Buffer.from(value, 'base64').toString('utf8')]),
  )
}
