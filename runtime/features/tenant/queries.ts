import { z } from 'zod'
import { dataBytes, rowsOf } from '../../events/store.ts'
import type { Query } from '../../queries/query.ts'

const limit = z.int().nonnegative().nullable()

const shownTenant = z
  .strictObject({
    id: z.string(),
    displayName: z.string().nullable(),
    plan: z.string().nullable(),
    isolation: z.enum(['row', 'schema', 'database']),
    limits: z
      .strictObject({ requestsPerSecond: limit, burst: limit, concurrency: limit, tasks: limit, users: limit, storageMiB: limit })
      .meta({ description: 'null: there is none.' }),
    usage: z
      .strictObject({ tasks: z.int(), users: z.int(), dataBytes: z.int() })
      .meta({ description: 'How many there are at this moment, and what they take as JSON, which `storageMiB` limits.' }),
    settings: z.record(z.string(), z.unknown()).meta({ description: 'As they are in force, out of spec.settings of the Tenant.' }),
  })
  .meta({
    title: 'Tenant',
    examples: [
      {
        id: 'acme',
        displayName: 'Acme Corporation',
        plan: 'basic',
        isolation: 'schema',
        limits: { requestsPerSecond: 500, burst: 1_000, concurrency: 50, tasks: 100_000, users: 1_000, storageMiB: 1_000 },
        usage: { tasks: 12, users: 3, dataBytes: 4_020 },
        settings: {},
      },
    ],
  })

type ShownTenant = z.infer<typeof shownTenant>

/** Who the caller's tenant is, what it may take and has taken. */
export const GetTenant: Query<Record<string, never>> = {
  name: 'GetTenant',
  summary: 'The tenant itself: plan, limits, usage and settings',
  scope: 'any',
  route: { path: '/v1/tenant' },
  input: z.strictObject({}),
  output: shownTenant,
  versioned: false,
  cacheKey: () => undefined,
  statement: (tenantUid) => ({
    name: 'tenant.usage',
    text: (schema) => `
      SELECT position, ${rowsOf(schema, 'tasks')} AS tasks, ${rowsOf(schema, 'users')} AS users, ${dataBytes()} AS data
      FROM tenantry.head WHERE tenant = $1`,
    values: [tenantUid],
  }),
  answer: ([row], _, { route }) => {
    if (row === undefined) return undefined
    const { id, displayName = null, plan = null, isolation, limits, settings = {} } = route
    const { requestsPerSecond = null, burst = null, concurrency = null, tasks = null, users = null, storageMiB = null } = limits ?? {}
    const usage = { tasks: Number(row.tasks), users: Number(row.users), dataBytes: Number(row.data) }
    const shown: ShownTenant = {
      id,
      displayName,
      plan,
      isolation,
      limits: { requestsPerSecond, burst, concurrency, tasks, users, storageMiB },
      usage,
      settings,
    }
    return { body: JSON.stringify(shown), position: Number(row.position) }
  },
}
