import type { IncomingMessage } from 'node:http'
import express, { type Express, type NextFunction, type Request, type RequestHandler, type Response } from 'express'
import { ERRORS, TenantryError } from '../errors.ts'
import type { Feature } from '../features/feature.ts'
import type { Log } from '../log.ts'
import type { QueryBus } from '../queries/bus.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { type CommandExecutor, commandHandlers } from './commands.ts'
import type { Exchange } from './exchange.ts'
import { type Health, liveness, readiness } from './health.ts'
import { toProblem, toTenantryError } from './problems.ts'
import { queryHandler } from './queries.ts'
import type { FindTenant } from './tenant.ts'

/** What the HTTP API is made of. */
export type AppOptions = {
  features: readonly Feature[]
  commands: CommandExecutor
  queries: QueryBus
  findTenant: FindTenant
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
    exchange.tenant ??= await options.findTenant(exchange.request, exchange.requestId)
    return exchange.tenant
  }
  const readJson = express.json({ limit: options.bodyLimit, type: () => true })
  app.use(requireTarget)
  for (const [path, methods] of routesOf(options, enter, authenticate, readJson)) {
    const route = app.route(path.replaceAll(/\{(\w+)\}/g, ':$1'))
    for (const [method, handlers] of methods) route[method](...handlers)
    route.all(otherMethods(path, [...methods.keys()], enter))
  }
  app.use(() => {
    throw new TenantryError('not-found', 'There is nothing at this path.')
  })
  app.use((thrown: unknown, request: Request, _response: Response, _next: NextFunction) => refuse(thrown, enter(request), options.log))
  return app
}

type Method = 'get' | 'post' | 'patch' | 'delete'
type Routes = Map<string, Map<Method, RequestHandler[]>>
type Authenticate = (exchange: Exchange) => Promise<TenantContext>

/** All paths, those without parameters first: `/v1/tasks/statistics` is not a task. */
function routesOf(options: AppOptions, enter: Enter, authenticate: Authenticate, readJson: RequestHandler): Routes {
  const routes: Routes = new Map()
  const add = (path: string, method: Method, handlers: RequestHandler[]): void => {
    const methods = routes.get(path) ?? new Map<Method, RequestHandler[]>()
    if (methods.has(method)) throw new Error(`${method} ${path} is declared twice`)
    routes.set(path, methods.set(method, handlers))
  }
  add('/health', 'get', [liveness(enter)])
  add('/health/ready', 'get', [readiness(options.health, enter)])
  for (const feature of options.features) {
    for (const query of feature.queries) add(query.route.path, 'get', [queryHandler(query, options.queries, enter, authenticate)])
    for (const command of feature.commands) {
      const handlers = commandHandlers(command, options.commands, enter, authenticate, readJson)
      add(command.route.path, METHODS[command.route.method], handlers)
    }
  }
  return new Map([...routes].sort(([left], [right]) => Number(left.includes('{')) - Number(right.includes('{'))))
}

const METHODS = { POST: 'post', PATCH: 'patch', DELETE: 'delete' } as const

function otherMethods(path: string, methods: readonly Method[], enter: Enter): RequestHandler {
  const allow = [...methods.map((method) => method.toUpperCase()), ...(methods.includes('get') ? ['HEAD'] : []), 'OPTIONS']
    .sort()
    .join(', ')
  return (request) => {
    const exchange = enter(request)
    exchange.route = path
    if (request.method === 'OPTIONS') {
      exchange.replyEmpty(204, { allow })
      return
    }
    const refusal = toProblem(new TenantryError('method-not-allowed', `Offered here: ${allow}.`), exchange.requestId, { allow })
    exchange.reply(refusal.status, refusal.headers, refusal.body)
  }
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
