import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { LOG_LEVELS, type LogLevel } from '../config/log.ts'
import { describe, inClusterNamespace, parseEnvironment, SettingsError } from '../config/settings.ts'

const MIGRATIONS = join(import.meta.dirname, '..', 'config', 'migrations')

const count = z.coerce.number().int().min(1)

/** Every setting with its meaning: `--help` and the README print these words. */
const schema = z.object({
  KUBECONFIG: z
    .string()
    .min(1)
    .optional()
    .describe("how to reach the API server; in a pod its own account is used, else the home folder's file"),
  TENANTRY_NAMESPACE: z.string().min(1).optional().describe("the platform's namespace; in a pod it is found, else tenantry"),
  TENANTRY_METRICS_PORT: z.coerce
    .number()
    .int()
    .min(0)
    .max(65535)
    .default(9090)
    .describe('port of /metrics and /health; 0: a free one, which the log tells'),
  TENANTRY_IDENTITY: z
    .string()
    .min(1)
    .max(253)
    .optional()
    .describe('holder name in the Lease; must differ between replicas (host name and a random part)'),
  TENANTRY_WORKERS: count.max(64).default(8).describe('Tenants worked on at once, for each Shard'),
  TENANTRY_CONNECTIONS_PER_SHARD: count.max(64).default(4).describe('connections with the admin login to each Shard'),
  TENANTRY_RUNTIME_DEPLOYMENT: z
    .string()
    .min(1)
    .max(253)
    .default('tenantry-runtime')
    .describe("name of the runtime's Deployment and of its HorizontalPodAutoscaler, which say how many replicas there may be"),
  TENANTRY_RUNTIME_REPLICAS: count
    .max(1000)
    .default(2)
    .describe("where there is no such Deployment: the most replicas of the runtime at once, to divide a Shard's connections among"),
  TENANTRY_RESYNC_SECONDS: count.max(86_400).default(600).describe('how often everything is looked at without a change'),
  TENANTRY_RELIST_SECONDS: count
    .max(86_400)
    .default(300)
    .describe('how often the API server is asked anew for all that is watched: a change that was lost on its way is noticed then'),
  TENANTRY_MIGRATIONS_FOLDER: z
    .string()
    .min(1)
    .optional()
    .describe('numbered migrations of all tenants, with those of a Shard in its folder database (config/migrations of this program)'),
  TENANTRY_USAGE_SECONDS: count
    .max(86_400)
    .default(600)
    .describe('how often tasks and storage of each Tenant are counted for its status, give or take a tenth'),
  TENANTRY_ON_BREACH: z
    .enum(['repair', 'suspend'])
    .default('repair')
    .describe(
      "when a tenant's wall is found down: repair takes away what holds it open, suspend serves the tenant no more until somebody has",
    ),
  TENANTRY_LOG_LEVEL: z.enum(LOG_LEVELS).default('info').describe('what is logged'),
})

/** Everything that can be set, parsed and complete. */
export type Settings = {
  kubeconfig: string | undefined
  namespace: string
  metricsPort: number
  identity: string
  workers: number
  connectionsPerShard: number
  runtimeDeployment: string
  runtimeReplicas: number
  resyncMs: number
  relistMs: number
  migrationsFolder: string
  usageMs: number
  onBreach: 'repair' | 'suspend'
  logLevel: LogLevel
}

/** A line for each environment variable: name, meaning, default. */
export function describeSettings(): string {
  return describe(schema)
}

/** Reads the settings from an environment. Throws a SettingsError that lists all faults together. */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const { values, faults } = parseEnvironment(schema, 'operator', environment)
  if (values === undefined || faults.length > 0) throw new SettingsError(faults)
  return {
    kubeconfig: values.KUBECONFIG,
    namespace: values.TENANTRY_NAMESPACE ?? inClusterNamespace() ?? 'tenantry',
    metricsPort: values.TENANTRY_METRICS_PORT,
    identity: values.TENANTRY_IDENTITY ?? `${hostname()}_${randomBytes(4).toString('hex')}`,
    workers: values.TENANTRY_WORKERS,
    connectionsPerShard: values.TENANTRY_CONNECTIONS_PER_SHARD,
    runtimeDeployment: values.TENANTRY_RUNTIME_DEPLOYMENT,
    runtimeReplicas: values.TENANTRY_RUNTIME_REPLICAS,
    resyncMs: values.TENANTRY_RESYNC_SECONDS * 1000,
    relistMs: values.TENANTRY_RELIST_SECONDS * 1000,
    migrationsFolder: values.TENANTRY_MIGRATIONS_FOLDER ?? MIGRATIONS,
    usageMs: values.TENANTRY_USAGE_SECONDS * 1000,
    onBreach: values.TENANTRY_ON_BREACH,
    logLevel: values.TENANTRY_LOG_LEVEL,
  }
}
