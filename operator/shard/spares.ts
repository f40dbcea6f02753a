import type { Log } from '../../config/log.ts'
import type { ShardSpec } from '../../crds/shard.ts'
import type { Connections } from '../postgres/connections.ts'
import { latest, type Migrations } from '../postgres/migrations.ts'
import { shardNames } from '../postgres/names.ts'
import { createSpare, dropSpare, readSpares, type Spare } from '../postgres/spares.ts'
import type { Shard } from './observe.ts'

/** What keeping spares works with. `isBusy`: tenants of the Shard are being made, whose statements come first. */
export type SpareTools = { connections: Connections; migrations: Migrations; isBusy: (shard: string) => boolean; log: Log }

/** Which schemas are to go, and how many are to be made. */
export type SparePlan = { drop: string[]; make: number }

/** Works out what is to be done to have as many ready schemas as the Shard wants. */
export function planSpares(
  spares: readonly Spare[],
  { warmSchemas, isolations }: Pick<ShardSpec, 'warmSchemas' | 'isolations'>,
  latestVersion: number,
): SparePlan {
  const wanted = isolations.includes('schema') ? warmSchemas : 0
  const good = spares.filter(({ version, whole }) => whole && version === latestVersion)
  const kept = new Set(good.slice(0, wanted))
  return { drop: spares.filter((spare) => !kept.has(spare)).map(({ name }) => name), make: wanted - kept.size }
}

/**
 * Keeps schemas ready for the next tenants. A Shard is Ready without them: that one could not be made is only logged. Gives false when
 * it is to be gone on with later.
 */
export async function keepSpares({ connections, migrations, isBusy, log }: SpareTools, shard: Shard): Promise<boolean> {
  const { name } = shard.metadata
  const database = connections.database(name)
  if (database === undefined || isBusy(name)) return database === undefined
  try {
    const { drop, make } = planSpares(await readSpares(database), shard.spec, latest(migrations.tenant))
    for (const spare of drop) await database.run(dropSpare(spare))
    for (let made = 0; made < make; made++) {
      if (isBusy(name)) return false
      await database.run(createSpare(shardNames(shard.spec.endpoint.database), migrations.tenant))
    }
    return true
  } catch (error) {
    log.warn({ shard: name, err: error }, 'schemas could not be kept ready')
    return false
  }
}
