import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { TenantryError } from '../errors.ts'
import { Deadlines } from '../resilience/deadline.ts'
import { type AppOptions, createApp } from './app.ts'
import { Exchange, SAFE_HEADERS } from './exchange.ts'
import { problem, toProblem } from './problems.ts'

/** What the HTTP API is made of. */
export type ApiOptions = AppOptions & {
  /** Milliseconds after which a request is answered 503. */
  requestDeadline: number
  /** Whether each request leaves a line in the log. */
  accessLog: boolean
}

/** The API as it listens. */
export type Api = {
  port: number
  /** Asks every client to leave its connection with the next answer: the first half of a drain. */
  dismiss: () => void
  /** Accepts nothing new, waits for what is under way, at most `deadline` milliseconds, and closes every connection. */
  close: (deadline: number) => Promise<void>
}

/** Serves every feature's commands and queries. Port 0 takes a free one. Throws when the port is taken. */
export async function serveApi(options: ApiOptions, port: number): Promise<Api> {
  const app = createApp(options)
  const deadlines = new Deadlines<Exchange>(options.requestDeadline, onDeadline)
  let dismissing = false
  const server = createServer(LIMITS, (request, response) => {
    const exchange = new Exchange(request, response, deadlines)
    if (dismissing) response.setHeader('connection', 'close')
    response.on('close', () => logEnd(exchange, options))
    void app(exchange)
  })
  server.on('clientError', refuseUnreadable)
  await listen(server, port)
  return {
    port: portOf(server),
    dismiss: () => {
      dismissing = true
    },
    close: (deadline) => close(server, deadline),
  }
}

// Slow senders are cut off (headers in 10 s, all of it in 30 s, looked at every 2 s); a missing Host is answered by us, as a problem document.
const LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 30_000,
  maxHeaderSize: 16_384,
  requireHostHeader: false,
}

/** Who has not sent all of the request by now is slow; else it is us. */
function onDeadline(exchange: Exchange): void {
  const late = exchange.request.complete
    ? toProblem(new TenantryError('overloaded', 'The answer took too long.', { retryAfter: 1 }), exchange.requestId)
    : problem('invalid-request', 408, TOO_SLOW, exchange.requestId, [], { connection: 'close' })
  exchange.reply(late.status, late.headers, late.body)
  exchange.abort()
}

const TOO_SLOW = 'The request was sent too slowly.'

function logEnd(exchange: Exchange, { log, accessLog }: ApiOptions): void {
  const { route, method, status, seconds } = exchange.end()
  if (!accessLog) return
  const milliseconds = Math.round(seconds * 1e6) / 1e3
  // Probes come every few seconds and say nothing about anybody's request.
  const write = route.startsWith('/health') ? log.debug : log.info
  write({ requestId: exchange.requestId, tenantId: exchange.tenant?.id, method, route, status, milliseconds }, 'request')
}

/** What node's parser could not read never becomes a request; it is answered on the bare connection. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const [status, reason, detail] = PARSER_ERRORS[error.code ?? ''] ?? [400, 'Bad Request', 'The request cannot be read as HTTP.']
  const refusal = problem('invalid-request', status, detail, 'none')
  const headers = { connection: 'close', ...SAFE_HEADERS, ...refusal.headers, 'content-length': Buffer.byteLength(refusal.body) }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${reason}\r\n${lines.join('')}\r\n${refusal.body}`)
}

const PARSER_ERRORS: Record<string, [number, string, string]> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'The headers are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', TOO_SLOW],
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function portOf(server: Server): number {
  const address: string | AddressInfo | null = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port')
  return address.port
}

function close(server: Server, deadline: number): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) {
      resolve()
      return
    }
    const timer = setTimeout(() => server.closeAllConnections(), deadline)
    // A connection counts as idle while the request in it has not been read. After a stall this comes before the reading: let that be first.
    setImmediate(() =>
      server.close(() => {
        clearTimeout(timer)
        resolve()
      }),
    )
  })
}
