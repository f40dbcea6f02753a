import type { Log } from '../../config/log.ts'
import {
  bucketDocument,
  formatRouting,
  parseRouting,
  ROUTING_BUCKETS,
  ROUTING_KEY,
  ROUTING_LABEL,
  ROUTING_VERSION,
  type Route,
  type RoutingDocument,
  SHARDS_DOCUMENT,
  type ShardEndpoint,
} from '../../config/routing.ts'
import { isTerminating } from '../kubernetes/api-error.ts'
import type { Client } from '../kubernetes/client.ts'
import { type AnyObject, CONFIG_MAPS, type ConfigMap } from '../kubernetes/object.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import { Rounds, restAfter } from '../loop/rounds.ts'
import { roomiest } from './build.ts'

type Document = {
  name: string
  routes: Map<string, Route>
  shards: Map<string, ShardEndpoint>
  /** The text that the API server has acknowledged, and the version of the object that holds it. */
  text: string | undefined
  resourceVersion: string
  uid: string
  /** Counts the changes; `written` is the count that the acknowledged text holds. */
  changes: number
  written: number
  writing: boolean
  readonly waits: boolean
}

const REWRITTEN = 'Somebody else had changed or deleted this routing document: it was written again.'

/**
 * The routing config as it should be, and its way into the ConfigMaps. One document is written at a time, with a rest in between; tenants
 * that come while one waits share the write, so that a thousand new ones cost less than a hundred writes and a single one waits for nothing.
 * A route stays in its document, also for the operator that comes after this one. What is equal is not written.
 */
export class RoutingPublisher {
  readonly #client: Client
  readonly #namespace: string
  readonly #log: Log
  readonly #recorder: Recorder
  readonly #buckets = Array.from({ length: ROUTING_BUCKETS }, (_, index) => openDocument(bucketDocument(index)))
  readonly #shards = openDocument(SHARDS_DOCUMENT)
  readonly #documents = new Map([...this.#buckets, this.#shards].map((document) => [document.name, document]))
  /** The UID that has a route under each name: one name never has two. */
  readonly #uids = new Map<string, string>()
  /** The document that holds, or last held, a tenant's route. */
  readonly #homes = new Map<string, Document>()
  /** A document takes the API server some 12 ms (measured with 32 KiB), and longer while others need it too. */
  readonly #writes = new Rounds((tookMs) => (this.#rests ? restAfter(tookMs) : 0))
  /** Not while the first documents are written: all of them wait for each other then, and gather nothing. */
  #rests = false

  constructor(options: { client: Client; namespace: string; recorder: Recorder; log: Log }) {
    this.#client = options.client
    this.#namespace = options.namespace
    this.#log = options.log
    this.#recorder = options.recorder
  }

  /**
   * Begins with what the cluster says: every tenant's route as its status has it, and the ConfigMaps as they are. Must come before any
   * other call, with complete lists: what is missing here is taken out of the routing config. Documents that differ are written.
   */
  async start(existing: readonly ConfigMap[], routes: readonly Route[]): Promise<void> {
    const homes = new Map(existing.flatMap((configMap) => this.#adopt(configMap)))
    for (const route of routes) {
      this.#home(route.uid, homes.get(route.uid)).routes.set(route.uid, route)
      this.#uids.set(route.id, route.uid)
    }
    await Promise.all([...this.#documents.values()].map((document) => unlessTerminating(this.#changed(document))))
    this.#rests = true
  }

  /** Resolves when the API server has acknowledged a document with this route. */
  async putRoute(route: Route): Promise<void> {
    const document = this.#home(route.uid)
    const before = this.#uids.get(route.id)
    if (before !== undefined && before !== route.uid) await this.removeRoute(before)
    this.#uids.set(route.id, route.uid)
    if (same(document.routes.get(route.uid), route)) return this.#settled(document)
    document.routes.set(route.uid, route)
    return this.#changed(document)
  }

  /** Resolves when the API server has acknowledged a document without this tenant. */
  async removeRoute(uid: string): Promise<void> {
    const document = this.#homes.get(uid)
    if (document === undefined) return
    const id = document.routes.get(uid)?.id
    if (id !== undefined && this.#uids.get(id) === uid) this.#uids.delete(id)
    await unlessTerminating(document.routes.delete(uid) ? this.#changed(document) : this.#settled(document))
    if (!document.routes.has(uid)) this.#homes.delete(uid)
  }

  /** Takes out the route under a name whose Tenant is gone. */
  async removeName(id: string): Promise<void> {
    const uid = this.#uids.get(id)
    if (uid !== undefined) await this.removeRoute(uid)
  }

  /** A tenant's route, as the runtimes are told. */
  route(uid: string): Route | undefined {
    return this.#homes.get(uid)?.routes.get(uid)
  }

  /** Where this Shard is, as the runtimes are told. */
  shard(name: string): ShardEndpoint | undefined {
    return this.#shards.shards.get(name)
  }

  /** Resolves when the API server has acknowledged where this Shard is. */
  putShard(name: string, endpoint: ShardEndpoint): Promise<void> {
    const document = this.#shards
    if (same(document.shards.get(name), endpoint)) return this.#settled(document)
    document.shards.set(name, endpoint)
    return this.#changed(document)
  }

  /** Takes out a Shard that no tenant lives on. */
  removeShard(name: string): Promise<void> {
    const document = this.#shards
    return unlessTerminating(document.shards.delete(name) ? this.#changed(document) : this.#settled(document))
  }

  /** Tells of a ConfigMap as the watch has seen it: what somebody else has changed or deleted is written again. */
  observe(name: string, configMap: ConfigMap | undefined): void {
    const document = this.#documents.get(name)
    if (document === undefined || document.text === undefined || document.writing) return
    const text = configMap?.data?.[ROUTING_KEY] ?? ''
    if (text === document.text || (configMap !== undefined && !isNewer(configMap.metadata.resourceVersion, document.resourceVersion)))
      return
    this.#log.warn({ document: name }, 'a routing document was changed by somebody else and is written again')
    document.text = text
    this.#changed(document).then(
      () => this.#recorder.record(objectOf(document, this.#namespace), 'Warning', 'DriftRepaired', REWRITTEN),
      (error: unknown) => this.#log.warn({ document: name, err: error }, 'a routing document could not be written'),
    )
  }

  /** Takes over what stands in a document; gives whose routes do. */
  #adopt({ metadata, data }: ConfigMap): [uid: string, home: Document][] {
    const document = this.#documents.get(metadata.name)
    if (document === undefined) return []
    document.text = data?.[ROUTING_KEY]
    document.resourceVersion = metadata.resourceVersion
    document.uid = metadata.uid
    const parsed = parseRouting(document.text ?? '')
    if (!parsed.ok) return []
    // Where the Shards are is only known again after a pass of each: until then what was published stays.
    if (document === this.#shards) for (const [name, endpoint] of Object.entries(parsed.value.shards)) document.shards.set(name, endpoint)
    return document === this.#shards ? [] : parsed.value.tenants.map(({ uid }) => [uid, document])
  }

  #changed(document: Document): Promise<void> {
    document.changes += 1
    return this.#settled(document)
  }

  #settled(document: Document): Promise<void> {
    if (!document.waits) return Promise.resolve()
    return this.#writes.share(document.name, () => this.#write(document))
  }

  async #write(document: Document): Promise<void> {
    const changes = document.changes
    const text = formatRouting(contentOf(document))
    if (text !== document.text) await this.#send(document, text)
    document.written = changes
  }

  async #send(document: Document, text: string): Promise<void> {
    const kind = document.name === SHARDS_DOCUMENT ? 'shards' : 'bucket'
    const metadata = { name: document.name, labels: { [ROUTING_LABEL]: kind } }
    document.writing = true
    try {
      const written = await this.#client.apply(CONFIG_MAPS, this.#namespace, { metadata, data: { [ROUTING_KEY]: text } })
      document.text = text
      document.resourceVersion = written.metadata.resourceVersion
      document.uid = written.metadata.uid
    } finally {
      document.writing = false
    }
  }

  #home(uid: string, found?: Document): Document {
    const document = this.#homes.get(uid) ?? found ?? roomiest(this.#buckets)
    this.#homes.set(uid, document)
    return document
  }
}

function openDocument(name: string): Document {
  return {
    name,
    routes: new Map(),
    shards: new Map(),
    text: undefined,
    resourceVersion: '0',
    uid: '',
    changes: 0,
    written: 0,
    writing: false,
    get waits() {
      return this.written !== this.changes
    },
  }
}

function contentOf({ routes, shards }: Document): RoutingDocument {
  return {
    version: ROUTING_VERSION,
    shards: Object.fromEntries([...shards].sort(([a], [b]) => (a < b ? -1 : 1))),
    tenants: [...routes.values()].sort((a, b) => (a.uid < b.uid ? -1 : 1)),
  }
}

function objectOf({ name, uid, resourceVersion }: Document, namespace: string): AnyObject {
  return { apiVersion: 'v1', kind: CONFIG_MAPS.kind, metadata: { name, namespace, uid, resourceVersion, creationTimestamp: '' } }
}

// A document that went with its namespace, and cannot be made again, names nobody any more.
async function unlessTerminating(change: Promise<void>): Promise<void> {
  try {
    await change
  } catch (error) {
    if (!isTerminating(error)) throw error
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function isNewer(a: string, b: string): boolean {
  return BigInt(a) > BigInt(b)
}
