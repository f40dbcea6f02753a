import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { Agent, request as requestTls } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { openWatchPipe, type PassingEvent, type WatchPipe } from './watch-pipe.ts'

/** One call as it came in. */
export type ProxiedCall = { method: string; path: string; query: URLSearchParams; watch: boolean; at: number; status?: number }

/** What happens to a call that matches. */
export type Fault =
  /** Answers for the API server, which never hears of the call. */
  | { kind: 'answer'; status: number; retryAfterSeconds?: number }
  /** The API server executes the call; the client sees a reset instead of the answer. */
  | { kind: 'lose-answer' }
  /** The API server executes the call; the client waits for the answer for ever. The call has its `status` once it was executed. */
  | { kind: 'hold-answer' }
  /** The connection is reset before anything is passed on. */
  | { kind: 'reset' }
  /** The connection stays open and says nothing, ever. */
  | { kind: 'silence' }
  | { kind: 'delay'; ms: number }
  /** Changes the query on the way, for instance to an old resourceVersion. */
  | { kind: 'query'; set: Record<string, string> }

/** A fault that is at work. */
export type Rule = Disposable & { hits: () => number }

/** A proxy in front of the API server that breaks what it is told to. */
export type ApiProxy = AsyncDisposable & {
  /** The path of a kubeconfig that leads through the proxy. */
  kubeconfig: string
  /** Every call since the start, in order. */
  calls: ProxiedCall[]
  /** Applies a fault to the calls that match, at most `times` times, until disposed of. The rule added first wins. */
  fail: (match: (call: ProxiedCall) => boolean, fault: Fault, times?: number) => Rule
  /** Asks about each event of every watch, of those to come as well, whether it gets lost, until disposed of. */
  lose: (isLost: (event: PassingEvent, call: ProxiedCall) => boolean) => Disposable
  /** The open watches whose call matches. */
  watches: (match: (call: ProxiedCall) => boolean) => WatchPipe[]
}

const kubeconfigSchema = z.object({
  clusters: z.tuple([
    z.object({
      cluster: z.object({
        server: z.string(),
        'certificate-authority-data': z.string().optional(),
        'certificate-authority': z.string().optional(),
      }),
    }),
  ]),
  users: z.tuple([
    z.object({
      user: z.object({
        token: z.string().optional(),
        'client-certificate-data': z.string().optional(),
        'client-key-data': z.string().optional(),
      }),
    }),
  ]),
})

type Upstream = { server: URL; agent: Agent; headers: Record<string, string> }
type ActiveRule = { match: (call: ProxiedCall) => boolean; fault: Fault; left: number; hits: number }

/**
 * Starts a proxy to the API server of `kubeconfig`. It speaks plain HTTP with the client and TLS, with the kubeconfig's credentials,
 * with the server.
 */
export async function startApiProxy(kubeconfig: string): Promise<ApiProxy> {
  const upstream = await readUpstream(kubeconfig)
  const calls: ProxiedCall[] = []
  const rules = new Set<ActiveRule>()
  const watches = new Map<WatchPipe, ProxiedCall>()
  const losses = new Set<(event: PassingEvent, call: ProxiedCall) => boolean>()
  const sockets = new Set<Socket>()

  const server = createServer((request, response) => {
    const call = callOf(request)
    calls.push(call)
    response.on('error', () => {})
    handle(call, request, response).catch(() => request.socket.destroy())
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })

  async function handle(call: ProxiedCall, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request)
    const fault = faultFor(call)
    if (fault !== undefined && stops(fault, call, request, response)) return
    if (fault?.kind === 'delay') await sleep(fault.ms)
    if (fault?.kind === 'query') change(call.query, fault.set)
    const incoming = await forward(upstream, call, request.headers, body)
    call.status = incoming.statusCode ?? 0
    if (fault?.kind === 'lose-answer') return lose(incoming, request)
    if (fault?.kind === 'hold-answer') return void incoming.resume()
    pass(call, incoming, response)
  }

  function pass(call: ProxiedCall, incoming: IncomingMessage, response: ServerResponse): void {
    response.writeHead(incoming.statusCode ?? 0, incoming.headers)
    if (call.watch && call.status === 200) pipeWatch(call, incoming, response)
    else incoming.pipe(response)
  }

  function faultFor(call: ProxiedCall): Fault | undefined {
    for (const rule of rules) {
      if (rule.left === 0 || !rule.match(call)) continue
      rule.left -= 1
      rule.hits += 1
      return rule.fault
    }
    return undefined
  }

  function pipeWatch(call: ProxiedCall, incoming: IncomingMessage, response: ServerResponse): void {
    // Each is asked, since it may count.
    const isLost = (event: PassingEvent) => [...losses].map((loses) => loses(event, call)).includes(true)
    const pipe = openWatchPipe(incoming, response, isLost)
    watches.set(pipe, call)
    response.once('close', () => {
      watches.delete(pipe)
      incoming.destroy()
    })
  }

  const { promise: listening, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await listening
  const folder = await mkdtemp(join(tmpdir(), 'api-proxy-'))
  const file = join(folder, 'kubeconfig')
  await writeFile(file, kubeconfigTo(addressOf(server.address())))

  return {
    kubeconfig: file,
    calls,
    lose: (isLost) => {
      losses.add(isLost)
      return { [Symbol.dispose]: () => void losses.delete(isLost) }
    },
    watches: (match) => [...watches].filter(([, call]) => match(call)).map(([pipe]) => pipe),
    fail: (match, fault, times = Number.POSITIVE_INFINITY) => {
      const rule: ActiveRule = { match, fault, left: times, hits: 0 }
      rules.add(rule)
      return { hits: () => rule.hits, [Symbol.dispose]: () => void rules.delete(rule) }
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((done) => server.close(done))
      for (const socket of sockets) socket.destroy()
      upstream.agent.destroy()
      await closed
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function readUpstream(kubeconfig: string): Promise<Upstream> {
  const { clusters, users } = kubeconfigSchema.parse(parse(await readFile(kubeconfig, 'utf8')))
  const [{ cluster }] = clusters
  const [{ user }] = users
  const file = cluster['certificate-authority']
  const ca = file === undefined ? decode(cluster['certificate-authority-data']) : await readFile(file)
  const agent = new Agent({ keepAlive: true, ca, cert: decode(user['client-certificate-data']), key: decode(user['client-key-data']) })
  return { server: new URL(cluster.server), agent, headers: user.token === undefined ? {} : { authorization: `Bearer ${user.token}` } }
}

function decode(base64: string | undefined): Buffer | undefined {
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64')
}

function callOf(request: IncomingMessage): ProxiedCall {
  const url = new URL(request.url ?? '/', 'http://proxy')
  const watch = url.searchParams.get('watch') === 'true'
  return { method: request.method ?? 'GET', path: url.pathname, query: url.searchParams, watch, at: performance.now() }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function forward(upstream: Upstream, call: ProxiedCall, headers: IncomingHttpHeaders, body: Buffer): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const query = call.query.toString()
  const { authorization, 'transfer-encoding': encoding, ...others } = headers
  const own = { ...others, ...upstream.headers, host: upstream.server.host, 'content-length': body.length }
  const url = new URL(`${call.path}${query === '' ? '' : `?${query}`}`, upstream.server)
  const outgoing = requestTls(url, { agent: upstream.agent, method: call.method, headers: own }, resolve)
  outgoing.once('error', reject)
  outgoing.end(body)
  return promise
}

function change(query: URLSearchParams, set: Record<string, string>): void {
  for (const [name, value] of Object.entries(set)) query.set(name, value)
}

/** True when the fault keeps the call from the API server. */
function stops(fault: Fault, call: ProxiedCall, request: IncomingMessage, response: ServerResponse): boolean {
  if (fault.kind === 'reset') request.socket.resetAndDestroy()
  if (fault.kind === 'answer') answer(call, response, fault)
  return fault.kind === 'reset' || fault.kind === 'answer' || fault.kind === 'silence'
}

function lose(incoming: IncomingMessage, request: IncomingMessage): void {
  incoming.resume()
  incoming.once('end', () => request.socket.resetAndDestroy())
}

function answer(call: ProxiedCall, response: ServerResponse, fault: Extract<Fault, { kind: 'answer' }>): void {
  call.status = fault.status
  const wait = fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) }
  response.writeHead(fault.status, { 'content-type': 'application/json', ...wait })
  response.end(JSON.stringify(statusObject(fault.status)))
}

/** A `Status` object as the API server sends it with a refusal. */
function statusObject(code: number): Record<string, unknown> {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Fault', message: `the proxy says ${code}`, code }
}

function addressOf(address: AddressInfo | string | null): string {
  if (address === null || typeof address === 'string') throw new Error('the proxy listens on no port')
  return `http://127.0.0.1:${address.port}`
}

function kubeconfigTo(server: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'proxy', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'proxy', user: { token: 'the proxy has its own' } }],
    contexts: [{ name: 'proxy', context: { cluster: 'proxy', user: 'proxy' } }],
    'current-context': 'proxy',
  })
}
