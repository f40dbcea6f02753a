import findMyWay from 'find-my-way'
import type { Log } from '../../config/log.ts'
import { ERRORS, TenantryError } from '../errors.ts'
import type { Feature } from '../features/feature.ts'
import type { FindTenant } from '../identity/find-tenant.ts'
import type { MayAsk } from '../identity/origins.ts'
import type { Admission, Limiter } from '../limits/limiter.ts'
import type { QueryBus } from '../queries/bus.ts'
import type { StreamBus } from '../queries/stream.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { createReadJson } from './body.ts'
import type { CommandExecutor } from './commands.ts'
import { originHeaders, preflightHeaders } from './cors.ts'
import { endpointsOf } from './endpoints.ts'
import type { Exchange } from './exchange.ts'
import type { Health } from './health.ts'
import { limitHeaders, rateLimited } from './limits.ts'
import type { Authenticate, Endpoint, Handler } from './openapi/operation.ts'
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

/** Answers every exchange: every feature's routes, and one place for what they throw. Never rejects. */
export type App = (exchange: Exchange) => Promise<void>

/** What is offered at one path. */
type Place = { path: string; methods: ReadonlyMap<string, Handler>; allow: string }

/** The application. Throws when two endpoints stand at one place. */
export function createApp(options: AppOptions): App {
  const authenticate: Authenticate = (exchange) => {
    const found = options.findTenant(evidenceOf(exchange.request), exchange.requestId)
    return found instanceof Promise ? found.then((tenant) => admit(exchange, tenant, options)) : admit(exchange, found, options)
  }
  const find = findPlace(placesOf(endpointsOf({ ...options, readJson: createReadJson(options.bodyLimit), authenticate })))

  return async (exchange) => {
    try {
      requireTarget(exchange)
      const { place, parameters } = find(exchange.request.url ?? '')
      exchange.route = place.path
      const handle = place.methods.get(exchange.request.method ?? '')
      if (handle === undefined) answerOtherMethod(exchange, place, options.mayAsk)
      else await handle(exchange, parameters)
    } catch (thrown) {
      refuse(thrown, exchange, options.log)
    }
  }
}

/** Throws `rate-limited`; every answer from now on tells what is left, and to pages of the tenant's origins. */
function admit(exchange: Exchange, tenant: TenantContext, { limiter }: AppOptions): TenantContext | Promise<TenantContext> {
  exchange.tenant = tenant
  exchange.headers = originHeaders(exchange.request, tenant.route)
  if (limiter === undefined) return tenant
  const conclude = (admission: Admission): TenantContext => {
    exchange.headers = { ...exchange.headers, ...limitHeaders(admission) }
    if (admission.refused !== undefined) throw rateLimited(admission)
    if (admission.leave !== undefined) exchange.whenOver(admission.leave)
    return tenant
  }
  const entered = limiter.enter(tenant)
  return entered instanceof Promise ? entered.then(conclude) : conclude(entered)
}

/** All paths with what they offer; what answers GET answers HEAD, of which no body is sent. */
function placesOf(endpoints: readonly Endpoint[]): Place[] {
  return [...Map.groupBy(endpoints, ({ operation }) => operation.path)].map(([path, offered]) => {
    const methods = new Map(offered.map(({ operation, handle }) => [operation.method.toUpperCase(), handle]))
    const get = methods.get('GET')
    if (get !== undefined) methods.set('HEAD', get)
    return { path, methods, allow: [...methods.keys(), 'OPTIONS'].sort().join(', ') }
  })
}

/** Finds the place of a target: those without parameters first, `/v1/tasks/statistics` is not a task. Throws `not-found`, and `invalid-request` for a path that cannot be decoded. */
function findPlace(places: readonly Place[]) {
  const router = findMyWay()
  for (const place of places) router.on('GET', place.path.replaceAll(/\{(\w+)\}/g, ':$1'), nothing, place)
  return (target: string): { place: Place; parameters: Record<string, string | undefined> } => {
    const end = target.indexOf('?')
    const path = end === -1 ? target : target.slice(0, end)
    const found = router.find('GET', path)
    if (found !== null) return { place: found.store, parameters: found.params }
    if (!isDecodable(path)) throw new TenantryError('invalid-request', 'The request cannot be read as it was sent.')
    throw new TenantryError('not-found', 'There is nothing at this path.')
  }
}

// The router wants a handler for each path; ours stands in the place.
function nothing(): void {}

function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

function answerOtherMethod(exchange: Exchange, { allow }: Place, mayAsk: MayAsk): void {
  if (exchange.request.method === 'OPTIONS') {
    exchange.replyEmpty(204, { allow, ...preflightHeaders(exchange.request, allow, mayAsk) })
    return
  }
  const refusal = toProblem(new TenantryError('method-not-allowed', `Offered here: ${allow}.`), exchange.requestId, { allow })
  exchange.reply(refusal.status, refusal.headers, refusal.body)
}

function requireTarget({ request }: Exchange): void {
  // The absolute form names a host of its own, which would have to agree with the header: no client of an origin server sends it.
  if (!request.url?.startsWith('/')) throw new TenantryError('invalid-request', 'The request target must be a path.')
  if (request.headers.host === undefined && request.httpVersion === '1.1') {
    throw new TenantryError('invalid-request', 'The header Host is missing.', { faults: [{ field: 'host', message: 'is required' }] })
  }
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
