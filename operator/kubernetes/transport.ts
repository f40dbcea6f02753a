import { type Cluster, HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node'
import { type Clock, systemClock } from '../loop/clock.ts'

type Dispatcher = NonNullable<ReturnType<RequestContext['getDispatcher']>>
type Credentials = { headers: Record<string, string>; dispatcher: Dispatcher }

/** One HTTP request to the API server. */
export type Call = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Path and query. */
  path: string
  body?: string
  contentType?: string
  signal: AbortSignal
}

/** The answer; its body must be read or destroyed, else its connection is lost. */
export type Answer = {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Awaited<ReturnType<Dispatcher['request']>>['body']
}

/** The way to one API server. */
export type Transport = {
  /** Rejects only when no answer came: connection refused or lost, signal aborted. Every HTTP status resolves. */
  send: (call: Call) => Promise<Answer>
  /** Ends all connections at once. */
  close: () => Promise<void>
}

/** Credentials are read again after this time, for tokens in a pod are replaced within the hour; a 401 has them read at once. */
const CREDENTIALS_MS = 60_000

/**
 * Over HTTP/2 all calls and watches share one connection, and one that died silently takes them all along for minutes, since giving a
 * request up does not give up its connection. Over HTTP/1.1 it does.
 */
const HTTP_1 = { allowH2: false }

/** client-node leaves a cluster without TLS settings of its own to the global fetch; this gives it an agent like every other. */
class Config extends KubeConfig {
  override createDispatcherOptions(
    ...args: Parameters<KubeConfig['createDispatcherOptions']>
  ): ReturnType<KubeConfig['createDispatcherOptions']> {
    const options = super.createDispatcherOptions(...args)
    if (options.type === 'none') return { type: 'agent', connect: { keepAlive: true, keepAliveInitialDelay: 30_000, ...HTTP_1 } }
    return options.type === 'agent' ? { ...options, connect: { ...options.connect, ...HTTP_1 } } : options
  }
}

/**
 * Opens the way to the API server of a kubeconfig: of the file given, else of KUBECONFIG, the home folder or the pod, in client-node's
 * order. client-node makes a new agent, and so a new TLS connection, for each call: here the agent is kept with its credentials.
 */
export function openTransport(kubeconfig?: string, clock: Clock = systemClock): Transport {
  const config = new Config()
  if (kubeconfig === undefined) config.loadFromDefault()
  else config.loadFromFile(kubeconfig)
  const server = new URL(clusterOf(config).server)
  const open = new Set<Dispatcher>()
  let current: { credentials: Promise<Credentials>; until: number } | undefined

  async function read(): Promise<Credentials> {
    const context = new RequestContext(server.href, HttpMethod.GET)
    await config.applySecurityAuthentication(context)
    const dispatcher = context.getDispatcher()
    if (dispatcher === undefined) throw new Error('client-node gave no connection agent')
    open.add(dispatcher)
    return { headers: context.getHeaders(), dispatcher }
  }

  function credentials(): Promise<Credentials> {
    if (current !== undefined && clock.now() < current.until) return current.credentials
    const before = current?.credentials
    const fresh = { credentials: read(), until: clock.now() + CREDENTIALS_MS }
    current = fresh
    fresh.credentials.catch(() => {
      if (current === fresh) current = undefined
    })
    before?.then(({ dispatcher }) => retire(dispatcher)).catch(() => {})
    return fresh.credentials
  }

  /** Lets running requests and watches end, then closes. */
  async function retire(dispatcher: Dispatcher): Promise<void> {
    await dispatcher.close()
    open.delete(dispatcher)
  }

  async function send(call: Call): Promise<Answer> {
    const { headers, dispatcher } = await credentials()
    const content = call.body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json' }
    const answer = await dispatcher.request({
      origin: server.origin,
      path: `${server.pathname.replace(/\/$/, '')}${call.path}`,
      method: call.method,
      headers: { ...headers, ...content, accept: 'application/json', 'user-agent': 'tenantry-operator' },
      body: call.body ?? null,
      signal: call.signal,
      // The caller's signal is the deadline, of calls and of watches alike.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    if (answer.statusCode === 401 && current !== undefined) current.until = 0
    return { status: answer.statusCode, headers: answer.headers, body: answer.body }
  }

  return {
    send,
    close: async () => {
      current = undefined
      await Promise.all([...open].map((dispatcher) => dispatcher.destroy()))
    },
  }
}

function clusterOf(config: KubeConfig): Cluster {
  const cluster = config.getCurrentCluster()
  if (cluster === null) throw new Error('the kubeconfig names no current cluster')
  return cluster
}
