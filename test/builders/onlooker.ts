import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { inject } from 'vitest'
import { parseRouting, ROUTING_KEY, ROUTING_LABEL, type Route } from '../../config/routing.ts'
import { isTrue } from '../../crds/condition.ts'
import { CONFIG_MAPS, TENANTS } from '../../operator/kubernetes/object.ts'
import { watch } from '../../operator/kubernetes/watch.ts'
import type { Tenant } from '../../operator/tenant/home.ts'
import { keepLog } from './log.ts'
import type { Ground } from './operations.ts'

/** Looks on while something is done to the operator. `faults` should stay empty; `looks` counts how often there was something to see. */
export type Onlooker = { faults: string[]; looks: { walls: number; conditions: number }; stop: () => Promise<void> }

const REST_MS = 100

/**
 * Begins to look: all the time at who could read what in Postgres (O4), and at each change of a Tenant whether what its conditions say of its
 * present generation is so (O6).
 */
export function startOnlooker(ground: Ground): Onlooker {
  const { client, namespace, database } = ground
  const url = new URL(inject('postgres').superuserUrl)
  url.pathname = `/${database}`
  const pool = new pg.Pool({ connectionString: url.href, max: 2 })
  const faults: string[] = []
  const looks = { walls: 0, conditions: 0 }
  const stopping = new AbortController()
  const { signal } = stopping
  const judging = new Set<Promise<void>>()

  async function lookAtWalls(): Promise<void> {
    while (!signal.aborted) {
      const { rows } = await pool.query<{ hole: string }>(HOLES)
      faults.push(...rows.map(({ hole }) => hole))
      looks.walls += 1
      await pause(REST_MS)
    }
  }

  /** A Tenant that has changed meanwhile is judged by that change. */
  async function judge(tenant: Tenant): Promise<void> {
    const lie = await lieOf(ground, pool, tenant)
    looks.conditions += 1
    if (lie === undefined) return
    const now = await client.get(TENANTS, namespace, tenant.metadata.name)
    if (now?.metadata.resourceVersion === tenant.metadata.resourceVersion) faults.push(`${tenant.metadata.name} ${lie}`)
  }

  const tenants = watch(client, TENANTS, namespace, {
    onChange: (name) => {
      const tenant = tenants.get(name)
      if (tenant === undefined || tenant.metadata.deletionTimestamp !== undefined) return
      const judged = judge(tenant).catch((error: unknown) => void faults.push(String(error)))
      judging.add(judged)
      void judged.then(() => judging.delete(judged))
    },
    signal,
    log: keepLog(),
  })
  const looking = lookAtWalls().catch((error: unknown) => void faults.push(String(error)))

  return {
    faults,
    looks,
    stop: async () => {
      stopping.abort()
      await Promise.all([looking, ...judging])
      await pool.end()
    },
  }
}

/** What a Tenant says of its present generation and is not so. */
async function lieOf(ground: Ground, pool: pg.Pool, { metadata, spec, status }: Tenant): Promise<string | undefined> {
  const { uid, generation = 0 } = metadata
  const conditions = status?.conditions ?? []
  if (conditions.some(({ observedGeneration = 0 }) => observedGeneration > generation)) return 'speaks of a generation to come'
  const says = (type: string) => isTrue(conditions, type, generation)
  if (says('Provisioned') && !(await stands(pool, uid))) return 'is Provisioned and has no data in use'
  if (!says('Routed')) return undefined
  const route = await routeOf(ground, uid)
  if (route?.state !== (spec.suspended ? 'suspended' : 'active')) return `is Routed, and its route is ${route?.state ?? 'not there'}`
  const keys = new Set(route.keys.map(({ name }) => name))
  return spec.apiKeys?.every(({ name }) => keys.has(name)) ? undefined : 'is Routed without all of its keys'
}

async function stands(pool: pg.Pool, uid: string): Promise<boolean> {
  const found = await pool.query('SELECT FROM tenantry.tenants WHERE uid = $1 AND made_at IS NOT NULL AND retained_at IS NULL', [uid])
  return found.rowCount === 1
}

async function routeOf({ client, namespace }: Ground, uid: string): Promise<Route | undefined> {
  const { items } = await client.list(CONFIG_MAPS, namespace, { labelSelector: `${ROUTING_LABEL}=bucket` })
  const documents = items.map(({ data }) => parseRouting(data?.[ROUTING_KEY] ?? ''))
  return documents.flatMap((parsed) => (parsed.ok ? parsed.value.tenants : [])).find((route) => route.uid === uid)
}

// Whoever has a right on what is another tenant's; a shared table that is open; a database that another may connect to.
const HOLES = `
  WITH shard AS (SELECT current_database() AS name),
       owner AS (SELECT t.role_name AS role, t.schema_name AS place, t.database_name AS own FROM tenantry.tenants t WHERE t.isolation <> 'row'),
       others AS (SELECT r.oid, r.rolname FROM pg_roles r, shard
                   WHERE r.rolname IN (name || '_runtime', name || '_runtime_a', name || '_runtime_b', name || '_rows', name || '_tenants')
                      OR r.rolname IN (SELECT role FROM owner UNION SELECT role || '_b' FROM owner)),
       tables AS (SELECT c.oid, c.relname, n.nspname, c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS guarded
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, shard
                   WHERE c.relkind IN ('r', 'p') AND (n.nspname = 'tenantry_rows' OR n.nspname IN (SELECT place FROM owner) OR n.nspname LIKE 'spare%'))
  SELECT others.rolname || ' has rights on ' || tables.nspname || '.' || tables.relname AS hole
    FROM tables, others, shard
   WHERE has_table_privilege(others.oid, tables.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
     AND others.rolname <> CASE tables.nspname WHEN 'tenantry_rows' THEN shard.name || '_rows' ELSE tables.nspname END
  UNION ALL
  SELECT 'row-level security is off in ' || relname FROM tables WHERE nspname = 'tenantry_rows' AND NOT guarded
  UNION ALL
  SELECT others.rolname || ' may connect to ' || d.datname
    FROM pg_database d JOIN owner ON owner.own = d.datname, others
   WHERE d.datname <> current_database() AND d.datallowconn AND has_database_privilege(others.oid, d.oid, 'CONNECT') AND others.rolname NOT IN (owner.role, owner.role || '_b')`
