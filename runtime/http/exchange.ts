import { randomUUID } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Deadlines } from '../resilience/deadline.ts'
import type { TenantContext } from '../tenancy/context.ts'

/** Milliseconds in which a client takes nothing of what is sent to it. */
const STALLED = 30_000

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/

const begun = channel('tenantry:http.begin')
const ended = channel('tenantry:http.end')

/**
 * On every answer, also where no request was understood: nothing is kept, a browser that was led here guesses no type, loads and runs
 * nothing, shows it in no frame, gives it to no other site's page, and tells nobody where it came from. What an answer has of its own comes after.
 */
export const SAFE_HEADERS = {
  'cache-control': 'private, no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const

/** What an ended exchange announces on `tenantry:http.end`. */
export type ExchangeEnd = { route: string; method: string; status: number; seconds: number; tenant: string | undefined }

let answered: { response: ServerResponse; body: string }[] = []

// What is answered in one turn of the event loop goes out at its end, one after the other. Who reads all of it, a proxy beside us, wakes up
// once and not for each: to wake somebody up costs as much as all else of an answer.
function endTogether(response: ServerResponse, body: string): void {
  if (answered.length === 0) setImmediate(endAll)
  answered.push({ response, body })
}

function endAll(): void {
  const now = answered
  answered = []
  for (const { response, body } of now) response.end(body)
}

async function* startingWith(first: IteratorResult<string, void>, rest: AsyncGenerator<string, void>) {
  if (first.done !== true) yield first.value
  yield* rest
}

/** One request and its answer: its id, whose it is, and how long it may take. */
export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly #begunAt = performance.now()
  readonly #deadlines: Deadlines<Exchange>
  #abort: AbortController | undefined
  #over = false
  #onOver: (() => void) | undefined
  /** The path as it was declared, for metrics: never what the client sent. */
  route = '(unknown)'
  tenant: TenantContext | undefined
  /** What every answer from now on carries. */
  headers: Record<string, string> = {}

  constructor(request: IncomingMessage, response: ServerResponse, deadlines: Deadlines<Exchange>) {
    this.request = request
    this.response = response
    const sent = request.headers['x-request-id']
    this.requestId = typeof sent === 'string' && REQUEST_ID.test(sent) ? sent : randomUUID()
    this.#deadlines = deadlines
    deadlines.begin(this)
    begun.publish(undefined)
  }

  /** Aborted when nobody waits for the answer any more. Made when first asked for: most reads need none. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#over) this.#abort.abort()
    return this.#abort.signal
  }

  /** Calls back once the connection is done with this exchange; at once when it is. Only the last who asks is told. */
  whenOver(callback: () => void): void {
    if (this.#over) callback()
    else this.#onOver = callback
  }

  /** Ends the work: the caller has left or the deadline is over. */
  abort(): void {
    this.#abort?.abort()
  }

  /** Sends the whole answer; does nothing when one was sent before. */
  reply(status: number, headers: Record<string, string | number>, body: string): void {
    if (this.response.headersSent) return
    this.#writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers })
    endTogether(this.response, body)
  }

  /**
   * Sends an answer piece by piece, each asked for when the client has taken the one before; no deadline holds from the first on, but a client
   * that takes nothing for so long has left. What fails on the way breaks the answer off, so that nobody takes a part for the whole. Throws it.
   */
  async stream(headers: Record<string, string>, pieces: AsyncGenerator<string, void>): Promise<void> {
    const first = await pieces.next()
    if (this.response.headersSent) return void (await pieces.return())
    this.#deadlines.end(this)
    this.#writeHead(200, headers)
    this.response.setTimeout(STALLED, () => this.response.destroy())
    if (this.request.method === 'HEAD') await pieces.return()
    await pipeline(startingWith(first, pieces), this.response).catch((error: unknown) => {
      // The client's leaving is no fault of anybody's.
      if (!this.#over) throw error
    })
  }

  /** Sends an answer that has no body by its nature (204, 304). */
  replyEmpty(status: 204 | 304, headers: Record<string, string | number>): void {
    if (this.response.headersSent) return
    this.#writeHead(status, headers)
    endTogether(this.response, '')
  }

  #writeHead(status: number, headers: Record<string, string | number>): void {
    this.response.writeHead(status, { 'x-request-id': this.requestId, ...SAFE_HEADERS, ...this.headers, ...headers })
  }

  /** The connection is done with this exchange. Gives what happened; 499 when the client left before its answer. */
  end(): ExchangeEnd {
    this.#deadlines.end(this)
    this.#over = true
    this.#onOver?.()
    const answered = this.response.writableFinished
    if (!answered) this.abort()
    const end = {
      route: this.route,
      method: this.request.method ?? 'GET',
      status: answered ? this.response.statusCode : 499,
      seconds: (performance.now() - this.#begunAt) / 1_000,
      tenant: this.tenant?.id,
    }
    ended.publish(end)
    return end
  }
}
