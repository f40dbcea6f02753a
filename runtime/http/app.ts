import type { IncomingMessage } from 'node:http'
import express, { type Express, type NextFunction, type Request, type RequestHandler, type Response } from 'express'
import { ERRORS, TenantryError } from '../errors.ts'
import type { Feature } from '../features/feature.ts'
import type { FindTenant } from '../identity/find-tenant.ts'
import type { MayAsk } from '../identity/origins.ts'
import type { Admission, Limiter } from '../limits/limiter.ts'
import type { Log } from '../log.ts'
import type { QueryBus } from '../queries/bus.ts'
import type { StreamBus } from '../queries/stream.ts'
import type { TenantContext } from '../tenancy/context.ts'
import type { CommandExecutor } from './commands.ts'
import { originHeaders, preflightHeaders } from './cors.ts'
import { endpointsOf } from './endpoints.ts'
import type { Exchange } from './exchange.ts'
import type { Health } from './health.ts'
import { requireShallow } from './input.ts'
import { limitHeaders, rateLimited } from './limits.ts'
import type { Endpoint, Operation } from './openapi/operation.ts'
import { toProblem, toTenantryError } from './problems.ts'
import { evidenceOf } from './tenant.ts'

/** What the HTTP API is made of. */
export type AppOptions = {
  features: readonly Feature[]
  commands: CommandExecutor
  queries: QueryBus
  streams: StreamBus
  findTenant: FindTenant
  mayAsk: MayAsk
  /** undefined: no tenant is held to limits of requests. */
  limiter: Limiter | undefined
  health: Health
  /** The largest body, in bytes. */
  bodyLimit: number
  log: Log
}

/** Finds the exchange that a request belongs to. */
export type Enter = (request: IncomingMessage) => Exchange

/** The express application: every feature's routes, one handler for what they throw. `enter` gives the exchange of a request. */
export function createApp(options: AppOptions, enter: Enter): Express {
  const app = express()
  app.disable('x-powered-by').disable('etag').enable('case sensitive routing').enable('strict routing').set('query parser', false)
  const authenticate = async (exchange: Exchange): Promise<TenantContext> => {
    if (exchange.tenant !== undefined) return exchange.tenant
    const tenant = await options.findTenant(evidenceOf(exchange.request), exchange.requestId)
    exchange.tenant = tenant
    exchange.headers = originHeaders(exchange.request, tenant.route)
    if (options.limiter !== undefined) await admit(exchange, options.limiter.enter(tenant))
    return tenant
  }
  const readJson = express.json({ limit: options.bodyLimit, type: () => true, verify: requireReadable })
  app.use(requireTarget)
  for (const [path, methods] of routesOf(endpointsOf({ ...options, readJson, enter, authenticate }))) {
    const route = app.route(path.replaceAll(/\{(\w+)\}/g, ':$1'))
    for (const [method, handlers] of methods) route[method](...handlers)
    route.all(otherMethods(path, [...methods.keys()], enter, options.mayAsk))
  }
  app.use(() => {
    throw new TenantryError('not-found', 'There is nothing at this path.')
  })
  app.use((thrown: unknown, request: Request, _response: Response, _next: NextFunction) => refuse(thrown, enter(request), options.log))
  return app
}

/** Throws `rate-limited`; every answer from now on tells what is left. */
async function admit(exchange: Exchange, entered: Admission | Promise<Admission>): Promise<void> {
  const admission = entered instanceof Promise ? await entered : entered
  exchange.headers = { ...exchange.headers, ...limitHeaders(admission) }
  if (admission.refused !== undefined) throw rateLimited(admission)
  if (admission.leave !== undefined) exchange.whenOver(admission.leave)
}

type Routes = Map<string, Map<Operation['method'], readonly RequestHandler[]>>

/** All paths, those without parameters first: `/v1/tasks/statistics` is not a task. */
function routesOf(endpoints: readonly Endpoint[]): Routes {
  const routes: Routes = new Map()
  for (const { operation, handlers } of endpoints) {
    routes.set(operation.path, new Map(routes.get(operation.path)).set(operation.method, handlers))
  }
  return new Map([...routes].sort(([left], [right]) => Number(left.includes('{')) - Number(right.includes('{'))))
}

function otherMethods(path: string, methods: readonly Operation['method'][], enter: Enter, mayAsk: MayAsk): RequestHandler {
  const allow = [...methods.map((method) => method.toUpperCase()), ...(methods.includes('get') ? ['HEAD'] : []), 'OPTIONS']
    .sort()
    .join(', ')
  return (request) => {
    const exchange = enter(request)
    exchange.route = path
    if (request.method === 'OPTIONS') {
      exchange.replyEmpty(204, { allow, ...preflightHeaders(request, allow, mayAsk) })
      return
    }
    const refusal = toProblem(new TenantryError('method-not-allowed', `Offered here: ${allow}.`), exchange.requestId, { allow })
    exchange.reply(refusal.status, refusal.headers, refusal.body)
  }
}

/** Looks at a body before anything is made of it. */
function requireReadable(_request: unknown, _response: unknown, body: Buffer, charset: string): void {
  if (charset !== 'utf-8') throw new TenantryError('unsupported-media-type', 'Send the body as JSON in UTF-8.')
  requireShallow(body)
}

const requireTarget: RequestHandler = (request, _response, next) => {
  // The absolute form names a host of its own, which would have to agree with the header: no client of an origin server sends it.
  if (!request.url.startsWith('/')) throw new TenantryError('invalid-request', 'The request target must be a path.')
  if (request.headers.host === undefined && request.httpVersion === '1.1') {
    throw new TenantryError('invalid-request', 'The header Host is missing.', { faults: [{ field: 'host', message: 'is required' }] })
  }
  next()
}

function refuse(thrown: unknown, exchange: Exchange, log: Log): void {
  const error = toTenantryError(thrown)
  if (ERRORS[error.code] >= 500) {
    const fields = {
      requestId: exchange.requestId,
      tenantId: exchange.tenant?.id,
      route: exchange.route,
      code: error.code,
      error: error.cause ?? error,
    }
    if (error.code === 'internal') log.error(fields, 'a request failed')
    else log.warn(fields, 'a request was refused')
  }
  const refusal = toProblem(error, exchange.requestId)
  exchange.reply(refusal.status, refusal.headers, refusal.body)
}
