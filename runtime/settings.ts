import { isIP } from 'node:net'
import { z } from 'zod'
import { LOG_LEVELS, type LogLevel } from '../config/log.ts'
import { describe, inClusterNamespace, parseEnvironment, SERVICE_ACCOUNT, SettingsError } from '../config/settings.ts'

const port = z.coerce.number('must be a port').int().min(0).max(65535)
const milliseconds = z.coerce.number('must be milliseconds').int().min(0).max(600_000)
const count = z.coerce.number('must be a number').int().min(1)

/** Every setting with its meaning: `--help` and the README print these words. */
const schema = z.object({
  TENANTRY_PORT: port.default(8080).describe('port of the API; 0: a free one, which the log tells'),
  TENANTRY_METRICS_PORT: port.default(9090).describe('port of /metrics'),
  TENANTRY_METRICS_TENANTS: z.coerce
    .number('must be a number')
    .int()
    .min(0)
    .max(1_000)
    .default(0)
    .describe('so many tenants, the busiest, are named in the metrics; 0: none'),
  TENANTRY_BASE_DOMAIN: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'must be a domain in lower case')
    .default('localhost')
    .describe('<tenant>.<base domain> names a tenant'),
  TENANTRY_GATEWAY_ADDRESSES: z
    .string()
    .transform((text) => text.split(',').map((part) => part.trim()))
    .refine((networks) => networks.every(isNetwork), 'must be IP addresses or networks such as 10.0.0.0/24, with commas between')
    .optional()
    .describe('IP addresses and networks of gateways that may name a tenant without a credential, with commas between'),
  TENANTRY_ROUTING_FOLDER: z.string().min(1).optional().describe('read routing documents from this folder instead of the cluster'),
  TENANTRY_CREDENTIALS_FOLDER: z.string().min(1).optional().describe('with a routing folder: a <shard>.json for each Shard'),
  TENANTRY_KUBERNETES_URL: z.url().optional().describe('the API server; in a pod it is found'),
  TENANTRY_KUBERNETES_CA_FILE: z.string().default(`${SERVICE_ACCOUNT}/ca.crt`).describe("the API server's CA in PEM"),
  TENANTRY_KUBERNETES_TOKEN_FILE: z.string().default(`${SERVICE_ACCOUNT}/token`).describe('bearer token, read again when it changes'),
  TENANTRY_NAMESPACE: z.string().min(1).optional().describe("the platform's namespace; in a pod it is found"),
  TENANTRY_REDIS_URL: z
    .url()
    .optional()
    .describe('second cache level, and where the replicas share the limits of tenants; without it each has its own'),
  TENANTRY_NATS_URL: z.string().min(1).optional().describe('where events are published; required unless events are off'),
  TENANTRY_EVENTS: z.enum(['on', 'off']).default('on').describe('off: no relay and no projections in this process'),
  TENANTRY_ACCESS_LOG: z
    .enum(['on', 'off'])
    .default('on')
    .describe('off: no log line for each request, for those whose gateway writes one'),
  TENANTRY_CACHE: z.enum(['on', 'off']).default('on').describe('off: every read goes to Postgres'),
  TENANTRY_LIMITS: z.enum(['on', 'off']).default('on').describe('off: tenants are not held to their limits of requests'),
  TENANTRY_CONNECTIONS_PER_SHARD: count.max(1000).default(8).describe('server connections of this replica to each Shard'),
  TENANTRY_POOLER: z
    .enum(['none', 'transaction'])
    .default('none')
    .describe('transaction: a pooler before Postgres, such as PgBouncer, hands connections on after each transaction'),
  TENANTRY_DATABASE_CONNECTIONS: count
    .max(1000)
    .default(16)
    .describe("server connections of this replica to tenants' own databases on each Shard, two for a tenant at most"),
  TENANTRY_BODY_LIMIT_BYTES: count
    .max(16 * 1024 * 1024)
    .default(256 * 1024)
    .describe('the largest request body'),
  TENANTRY_REQUEST_DEADLINE_MS: milliseconds.min(1).default(10_000).describe('a request that takes longer is answered 503'),
  TENANTRY_DRAIN_WAIT_MS: milliseconds.default(1_000).describe('on SIGTERM: from not ready until connections are refused'),
  TENANTRY_DRAIN_DEADLINE_MS: milliseconds.default(20_000).describe('on SIGTERM: how long requests under way may take to end'),
  TENANTRY_LOG_LEVEL: z.enum(LOG_LEVELS).default('info').describe('what is logged'),
})

/** Where routing config is read from. */
export type RoutingSettings =
  | { kind: 'folder'; documents: string; credentials: string }
  | { kind: 'cluster'; url: string; caFile: string; tokenFile: string; namespace: string }

/** Everything that can be set, parsed and complete. Times are in milliseconds, sizes in bytes. */
export type Settings = {
  port: number
  metricsPort: number
  metricsTenants: number
  baseDomain: string
  gatewayAddresses: readonly string[]
  routing: RoutingSettings
  redisUrl: string | undefined
  natsUrl: string | undefined
  cache: boolean
  accessLog: boolean
  limits: boolean
  connectionsPerShard: number
  pooler: 'none' | 'transaction'
  databaseConnections: number
  bodyLimit: number
  requestDeadline: number
  drainWait: number
  drainDeadline: number
  logLevel: LogLevel
}

/** A line for each environment variable: name, meaning, default. */
export function describeSettings(): string {
  return describe(schema)
}

/** Reads the settings from an environment. Throws a SettingsError that lists all faults together. */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const { values, faults } = parseEnvironment(schema, 'runtime', environment)
  const routing = routingOf(environment, faults)
  if (environment.TENANTRY_EVENTS !== 'off' && isUnset(environment.TENANTRY_NATS_URL)) {
    faults.push('TENANTRY_NATS_URL: is required, or set TENANTRY_EVENTS=off')
  }
  if (values === undefined || routing === undefined || faults.length > 0) throw new SettingsError(faults)
  return {
    port: values.TENANTRY_PORT,
    metricsPort: values.TENANTRY_METRICS_PORT,
    metricsTenants: values.TENANTRY_METRICS_TENANTS,
    baseDomain: values.TENANTRY_BASE_DOMAIN,
    gatewayAddresses: values.TENANTRY_GATEWAY_ADDRESSES ?? [],
    routing,
    redisUrl: values.TENANTRY_REDIS_URL,
    natsUrl: values.TENANTRY_EVENTS === 'on' ? values.TENANTRY_NATS_URL : undefined,
    cache: values.TENANTRY_CACHE === 'on',
    accessLog: values.TENANTRY_ACCESS_LOG === 'on',
    limits: values.TENANTRY_LIMITS === 'on',
    connectionsPerShard: values.TENANTRY_CONNECTIONS_PER_SHARD,
    pooler: values.TENANTRY_POOLER,
    databaseConnections: values.TENANTRY_DATABASE_CONNECTIONS,
    bodyLimit: values.TENANTRY_BODY_LIMIT_BYTES,
    requestDeadline: values.TENANTRY_REQUEST_DEADLINE_MS,
    drainWait: values.TENANTRY_DRAIN_WAIT_MS,
    drainDeadline: values.TENANTRY_DRAIN_DEADLINE_MS,
    logLevel: values.TENANTRY_LOG_LEVEL,
  }
}

function isNetwork(text: string): boolean {
  const [, address = '', bits = '0'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits) <= (family === 4 ? 32 : 128)
}

function isUnset(value: string | undefined): value is undefined | '' {
  return value === undefined || value === ''
}

function routingOf(environment: NodeJS.ProcessEnv, faults: string[]): RoutingSettings | undefined {
  const documents = environment.TENANTRY_ROUTING_FOLDER
  const credentials = environment.TENANTRY_CREDENTIALS_FOLDER
  if (!isUnset(documents) && !isUnset(credentials)) return { kind: 'folder', documents, credentials }
  if (!isUnset(documents) || !isUnset(credentials)) {
    faults.push('TENANTRY_ROUTING_FOLDER and TENANTRY_CREDENTIALS_FOLDER: set both or neither')
    return undefined
  }
  const url = environment.TENANTRY_KUBERNETES_URL ?? inClusterUrl(environment)
  if (url === undefined) {
    faults.push('TENANTRY_ROUTING_FOLDER or TENANTRY_KUBERNETES_URL: set one of them, this is not a pod')
    return undefined
  }
  return {
    kind: 'cluster',
    url,
    caFile: environment.TENANTRY_KUBERNETES_CA_FILE ?? `${SERVICE_ACCOUNT}/ca.crt`,
    tokenFile: environment.TENANTRY_KUBERNETES_TOKEN_FILE ?? `${SERVICE_ACCOUNT}/token`,
    namespace: environment.TENANTRY_NAMESPACE ?? inClusterNamespace() ?? 'tenantry',
  }
}

function inClusterUrl(environment: NodeJS.ProcessEnv): string | undefined {
  const host = environment.KUBERNETES_SERVICE_HOST
  if (host === undefined || host === '') return undefined
  return `https://${host.includes(':') ? `[${host}]` : host}:${environment.KUBERNETES_SERVICE_PORT ?? '443'}`
}
