import { randomUUID } from 'node:crypto'
import { type Migrations, readMigrations } from '../../operator/postgres/migrations.ts'
import { openDdl } from './ddl.ts'
import type { Bench, Rounds } from './figures.ts'
import { type Platform, startPlatform } from './platform.ts'
import { applyTenants, inParallel } from './tenants.ts'

const TENANT_COUNT = 200
/** As many connections as the operator has to a Shard. */
const CONNECTIONS = 4

/**
 * 200 Tenants, each with an API key, applied at once until the last is Ready. The peer is a loop that runs the same DDL for as many
 * names and does nothing else; the limit is the same DDL over as many connections as the operator has.
 */
export const reconcile: Bench = {
  name: 'reconcile',
  unit: 's',
  target: { atMost: 2, of: 'peer' },
  measure: async (count) => {
    const platform = await startPlatform()
    const migrations = await readMigrations('config/migrations')
    const rounds: Rounds = { ours: [], limit: [], peers: { 'loop of DDL': [] } }
    try {
      for (let round = 0; round < count; round++) {
        rounds.peers['loop of DDL']?.push(await runDdl(platform, migrations, 1))
        rounds.ours.push(await applyTenants(platform, { prefix: `bench-${round}`, count: TENANT_COUNT, isolation: 'schema' }))
        rounds.limit.push(await runDdl(platform, migrations, CONNECTIONS))
      }
      return rounds
    } finally {
      await platform.stop()
    }
  },
}

/** Seconds for the DDL of as many tenants, spread over so many connections; then it is undone. */
async function runDdl(platform: Platform, migrations: Migrations, connections: number): Promise<number> {
  const ddl = await openDdl(platform, 'schema', migrations, connections)
  const uids = Array.from({ length: TENANT_COUNT }, () => randomUUID())
  const started = performance.now()
  await inParallel(connections, uids, ddl.make)
  const seconds = (performance.now() - started) / 1000
  await inParallel(connections, uids, ddl.remove)
  await ddl.close()
  return seconds
}
