import { readFile } from 'node:fs/promises'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'

/** Where the API server is and who we are there. */
export type ClusterAccess = { url: string; caFile: string; tokenFile: string; namespace: string }

/** A ConfigMap or Secret, as far as routing reads it. */
export type ClusterObject = { metadata: { name: string; resourceVersion: string }; data?: Record<string, string> }

/** The two kinds that routing config is made of. */
export type Plural = 'configmaps' | 'secrets'

/** One line of a watch. */
export type WatchEvent = { type: string; object: ClusterObject & { code?: number; message?: string } }

/** The API server's answer was no. */
export class ClusterError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.name = 'ClusterError'
    this.status = status
  }
}

/** How often the connection is asked for a sign of life, and how long it may take to give one, in milliseconds. */
const PING = { every: 5_000, deadline: 5_000 }

const CONNECT_DEADLINE = 5_000

/**
 * Just enough of the Kubernetes API for a reader of a few named objects: one HTTP/2 connection that carries every watch, made anew
 * when it fails, says goodbye or falls silent. (The official client weighs 125 MiB, and opens a connection for each call.)
 */
export class ClusterClient {
  readonly #access: ClusterAccess
  readonly #onSignOfLife: () => void
  #session: Promise<ClientHttp2Session> | undefined
  #live: ClientHttp2Session | undefined
  #closed = false

  constructor(access: ClusterAccess, onSignOfLife: () => void) {
    this.#access = access
    this.#onSignOfLife = onSignOfLife
  }

  /** Reads one object afresh; undefined: it is not there. Throws ClusterError, or what the connection threw. */
  async get(plural: Plural, name: string, signal: AbortSignal): Promise<ClusterObject | undefined> {
    const stream = await this.#request(`/api/v1/namespaces/${this.#access.namespace}/${plural}/${name}`, signal)
    // Reading begins before any answer can be there: one that is complete when a busy process gets to it would else be thrown away unread.
    const [status, text] = await Promise.all([statusOf(stream), textOf(stream)])
    if (status === constants.HTTP_STATUS_NOT_FOUND) return undefined
    if (status !== constants.HTTP_STATUS_OK) throw new ClusterError(status, `${plural} ${name}: the API server answered ${status}`)
    return JSON.parse(text)
  }

  /**
   * Follows one object from `resourceVersion` on (undefined: from what is there now), for about `seconds`, until the API server
   * ends it. Throws like `get`, and SyntaxError for a line cut short.
   */
  async *watch(
    plural: Plural,
    name: string,
    from: { resourceVersion: string | undefined; seconds: number },
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent> {
    const query = new URLSearchParams({
      watch: '1',
      allowWatchBookmarks: 'true',
      fieldSelector: `metadata.name=${name}`,
      timeoutSeconds: String(from.seconds),
      ...(from.resourceVersion === undefined ? {} : { resourceVersion: from.resourceVersion }),
    })
    const stream = await this.#request(`/api/v1/namespaces/${this.#access.namespace}/${plural}?${query}`, signal)
    const status = await statusOf(stream)
    if (status !== constants.HTTP_STATUS_OK) {
      stream.close()
      throw new ClusterError(status, `watch of ${plural} ${name}: the API server answered ${status}`)
    }
    for await (const line of linesOf(stream)) yield JSON.parse(line)
  }

  async close(): Promise<void> {
    this.#closed = true
    const session = await this.#session?.catch(() => undefined)
    session?.destroy()
  }

  async #request(path: string, signal: AbortSignal): Promise<ClientHttp2Stream> {
    if (this.#closed) throw new Error('the client is closed')
    // Read each time: the kubelet replaces the token while we run.
    const token = (await readFile(this.#access.tokenFile, 'utf8')).trim()
    this.#session ??= this.#connect()
    const session = await this.#session
    const stream = session.request({ ':path': path, authorization: `Bearer ${token}`, accept: 'application/json' }, { signal })
    // Else Node throws away an answer that is complete before somebody has begun to read it.
    stream.pause()
    return stream
  }

  async #connect(): Promise<ClientHttp2Session> {
    try {
      const session = connect(this.#access.url, { ca: await readFile(this.#access.caFile) })
      // After a goodbye the open watches may end in peace, still under watch themselves; new requests go to a new connection.
      const leave = (): void => {
        if (this.#live === session) this.#session = undefined
      }
      const pings = setInterval(() => this.#ping(session), PING.every)
      this.#live = session
      session.on('goaway', leave).on('close', leave)
      session.on('close', () => clearInterval(pings))
      await connected(session)
      return session
    } catch (error) {
      this.#session = undefined
      throw error
    }
  }

  #ping(session: ClientHttp2Session): void {
    if (session.destroyed) return
    const silence = setTimeout(() => session.destroy(new Error('the API server has fallen silent')), PING.deadline)
    const sent = session.ping((error) => {
      clearTimeout(silence)
      if (error === null) this.#onSignOfLife()
    })
    if (!sent) session.destroy(new Error('the API server cannot be pinged'))
  }
}

function connected(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => session.destroy(new Error('the API server does not answer')), CONNECT_DEADLINE)
    session.once('connect', () => {
      clearTimeout(late)
      resolve()
    })
    // Stays, so that a later failure of the connection is never an uncaught one: the streams tell it.
    session.on('error', (error) => {
      clearTimeout(late)
      reject(error)
    })
    session.once('close', () => reject(new Error('the connection was closed')))
  })
}

function statusOf(stream: ClientHttp2Stream): Promise<number> {
  return new Promise((resolve, reject) => {
    stream.once('response', (headers) => resolve(headers[':status'] ?? 0))
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('the API server closed the request without an answer')))
  })
}

async function textOf(stream: ClientHttp2Stream): Promise<string> {
  stream.setEncoding('utf8')
  let text = ''
  for await (const chunk of stream) text += chunk
  return text
}

/** Whole lines; a last one that was cut short fails as JSON, which is what should happen to it. */
async function* linesOf(stream: ClientHttp2Stream): AsyncGenerator<string> {
  stream.setEncoding('utf8')
  let rest = ''
  for await (const chunk of stream) {
    const lines = `${rest}${chunk}`.split('\n')
    rest = lines.pop() ?? ''
    yield* lines.filter((line) => line !== '')
  }
  if (rest !== '') yield rest
}
