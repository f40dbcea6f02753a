import { sleep } from '../loop/clock.ts'
import { deadline } from '../loop/deadline.ts'
import { apiError, isStatus } from './api-error.ts'
import { type AnyObject, apiVersionOf, type Manifest, pathOf, type Resource } from './object.ts'
import { type Answer, type Call, openTransport, type Transport } from './transport.ts'
import { readEvents, type WatchEvent } from './watch-stream.ts'

/** Ends a call early. */
export type CallOptions = { signal?: AbortSignal }

/** What to select, as the API server understands it. */
export type Selection = { labelSelector?: string | undefined; fieldSelector?: string | undefined }

/** Where a watch begins, when the server is to end it, and who hears of every byte. */
export type StreamOptions = Selection & { resourceVersion: string; timeoutSeconds: number; signal: AbortSignal; onData: () => void }

/** A collection at one moment. */
export type ObjectList<O> = { items: O[]; resourceVersion: string }

/** A change as JSON merge patch; `metadata.resourceVersion` and `metadata.uid` in it are preconditions (refused with 409 and 422). */
export type MergePatch = Record<string, unknown>

/**
 * Calls to the API server about namespaced objects. Each has a deadline, is tried again when the server asks for it (429 and 5xx with
 * Retry-After), and throws ApiError when refused. `managedFields` never arrive. After a lost answer a write may or may not have happened.
 */
export type Client = {
  /** The object, or undefined when there is none. */
  get: <O extends AnyObject>(resource: Resource<O>, namespace: string, name: string, options?: CallOptions) => Promise<O | undefined>
  /** All objects, in pages of 500, as of one resourceVersion. */
  list: <O extends AnyObject>(resource: Resource<O>, namespace: string, options?: CallOptions & Selection) => Promise<ObjectList<O>>
  create: <O extends AnyObject>(resource: Resource<O>, namespace: string, body: Manifest<O>, options?: CallOptions) => Promise<O>
  /** Server-side apply as field manager `tenantry-operator`, by force: it owns the fields in `body` and no others. */
  apply: <O extends AnyObject>(
    resource: Resource<O>,
    namespace: string,
    body: Manifest<O>,
    options?: CallOptions & { subresource?: 'status' },
  ) => Promise<O>
  patch: <O extends AnyObject>(
    resource: Resource<O>,
    namespace: string,
    name: string,
    patch: MergePatch,
    options?: CallOptions & { subresource?: 'status' },
  ) => Promise<O>
  /** Deletes the object, with `uid` only if it is still that one. That it is not there is fine. */
  delete: (resource: Resource, namespace: string, name: string, options?: CallOptions & { uid?: string }) => Promise<void>
  /** The events after a resourceVersion, until the server ends the stream. Throws ApiError, TruncatedStream, or what the connection threw. */
  watch: <O extends AnyObject>(
    resource: Resource<O>,
    namespace: string,
    options: StreamOptions,
  ) => AsyncGenerator<WatchEvent<O>, void, undefined>
  close: () => Promise<void>
}

/** How to connect. */
export type ConnectOptions = {
  /** A kubeconfig file; without it KUBECONFIG, the home folder or the pod's own account. */
  kubeconfig?: string
  /** The longest a call may take, tries together (30 s). */
  callMs?: number
  /** Objects a page when listing (500). */
  pageSize?: number
}

const FIELD_MANAGER = 'tenantry-operator'
const MAX_TRIES = 5

/** Connects to the API server. No call is made before the first is asked for. */
export function connect({ kubeconfig, callMs = 30_000, pageSize = 500 }: ConnectOptions = {}): Client {
  const transport = openTransport(kubeconfig)
  const call = (request: Omit<Call, 'signal'>, options: CallOptions = {}) => send(transport, request, callMs, options.signal)
  const write = { fieldManager: FIELD_MANAGER }

  async function list<O extends AnyObject>(
    resource: Resource<O>,
    namespace: string,
    options: CallOptions & Selection = {},
  ): Promise<ObjectList<O>> {
    try {
      return await listPages(resource, namespace, options, pageSize)
    } catch (error) {
      // The continue token outlived the etcd history it points into: one large answer is the only consistent one left.
      if (!isStatus(error, 410)) throw error
      return listPages(resource, namespace, options, 0)
    }
  }

  async function listPages<O extends AnyObject>(
    resource: Resource<O>,
    namespace: string,
    options: CallOptions & Selection,
    limit: number,
  ): Promise<ObjectList<O>> {
    const items: O[] = []
    for (let token: string | undefined; ; ) {
      const query = queryOf({ ...selectionOf(options), limit, continue: token })
      const page: Page<O> = JSON.parse(await call({ method: 'GET', path: `${pathOf(resource, namespace)}${query}` }, options))
      for (const item of page.items) items.push(arrived(resource, item))
      if (!page.metadata.continue) return { items, resourceVersion: page.metadata.resourceVersion }
      token = page.metadata.continue
    }
  }

  async function* stream<O extends AnyObject>(
    resource: Resource<O>,
    namespace: string,
    options: StreamOptions,
  ): AsyncGenerator<WatchEvent<O>, void, undefined> {
    const { resourceVersion, timeoutSeconds, signal, onData } = options
    const query = queryOf({ ...selectionOf(options), watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds })
    const answer = await transport.send({ method: 'GET', path: `${pathOf(resource, namespace)}${query}`, signal })
    if (answer.status !== 200) throw await refusal(answer)
    onData()
    for await (const event of readEvents<O>(answer.body, onData)) yield { type: event.type, object: arrived(resource, event.object) }
  }

  return {
    list,
    get: async (resource, namespace, name, options) => {
      try {
        return parse(resource, await call({ method: 'GET', path: pathOf(resource, namespace, name) }, options))
      } catch (error) {
        if (isStatus(error, 404)) return undefined
        throw error
      }
    },
    create: async (resource, namespace, body, options) => {
      const path = `${pathOf(resource, namespace)}${queryOf(write)}`
      return parse(resource, await call({ method: 'POST', path, body: format(resource, namespace, body) }, options))
    },
    apply: async (resource, namespace, body, options) => {
      const path = `${pathOf(resource, namespace, body.metadata.name, options?.subresource)}${queryOf({ ...write, force: true })}`
      const contentType = 'application/apply-patch+yaml'
      return parse(resource, await call({ method: 'PATCH', path, body: format(resource, namespace, body), contentType }, options))
    },
    patch: async (resource, namespace, name, patch, options) => {
      const path = `${pathOf(resource, namespace, name, options?.subresource)}${queryOf(write)}`
      return parse(
        resource,
        await call({ method: 'PATCH', path, body: JSON.stringify(patch), contentType: 'application/merge-patch+json' }, options),
      )
    },
    delete: async (resource, namespace, name, options) => {
      const preconditions = options?.uid === undefined ? {} : { preconditions: { uid: options.uid } }
      const body = JSON.stringify({ apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', ...preconditions })
      try {
        await call({ method: 'DELETE', path: pathOf(resource, namespace, name), body }, options)
      } catch (error) {
        const another = isStatus(error, 409) && options?.uid !== undefined && /UID in (the )?precondition/.test(error.message)
        if (!isStatus(error, 404) && !another) throw error
      }
    },
    watch: stream,
    close: () => transport.close(),
  }
}

type Page<O> = { metadata: { resourceVersion: string; continue?: string }; items: O[] }

async function send(transport: Transport, request: Omit<Call, 'signal'>, callMs: number, signal?: AbortSignal): Promise<string> {
  using limit = deadline(`${request.method} ${request.path}`, callMs, signal)
  for (let tries = 1; ; tries++) {
    const answer = await transport.send({ ...request, signal: limit.signal })
    if (answer.status < 300) return answer.body.text()
    const error = await refusal(answer)
    if (error.retryAfterMs === undefined || tries === MAX_TRIES || !(error.status === 429 || error.status >= 500)) throw error
    await sleep(error.retryAfterMs, limit.signal)
    limit.signal.throwIfAborted()
  }
}

async function refusal(answer: Answer): Promise<ReturnType<typeof apiError>> {
  const retryAfter = answer.headers['retry-after']
  return apiError(answer.status, await answer.body.text(), typeof retryAfter === 'string' ? retryAfter : undefined)
}

function parse<O extends AnyObject>(resource: Resource<O>, text: string): O {
  return arrived(resource, JSON.parse(text))
}

/** Items of a list carry no kind; and nobody here reads managedFields, which are half of an object's size. */
function arrived<O extends AnyObject>(resource: Resource<O>, object: O): O {
  object.apiVersion ??= apiVersionOf(resource)
  object.kind ??= resource.kind
  if ('managedFields' in object.metadata) delete object.metadata.managedFields
  return object
}

function format<O extends AnyObject>(resource: Resource<O>, namespace: string, body: Manifest<O>): string {
  return JSON.stringify({ ...body, apiVersion: apiVersionOf(resource), kind: resource.kind, metadata: { ...body.metadata, namespace } })
}

function selectionOf({ labelSelector, fieldSelector }: Selection): Selection {
  return { labelSelector, fieldSelector }
}

function queryOf(parameters: Record<string, string | number | boolean | undefined>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined && value !== 0) query.set(name, String(value))
  const text = query.toString()
  return text === '' ? '' : `?${text}`
}
