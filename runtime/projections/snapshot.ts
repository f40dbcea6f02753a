import type { Run } from '../shards/session.ts'
import type { Statement } from '../shards/statement.ts'
import type { Projection } from './projection.ts'

/**
 * Where the snapshots of projections stand, by name: with the position of the last event that they hold, 0 for none. Locked until the
 * transaction ends, so that nobody reads one, or moves it, meanwhile.
 */
export async function lockSnapshots(run: Run, tenantUid: string, projections: readonly Projection[]): Promise<Map<string, number>> {
  const names = namesOf(projections)
  const rows = await run(
    {
      name: 'snapshots.make',
      text: (schema) => `
        INSERT INTO ${schema}snapshots (tenant_id, projection, position)
        SELECT $1, name, 0 FROM jsonb_array_elements_text($2::jsonb) name ON CONFLICT DO NOTHING`,
      values: [tenantUid, names],
    },
    {
      name: 'snapshots.lock',
      text: (schema) => `
        SELECT projection, position FROM ${schema}snapshots
        WHERE tenant_id = $1 AND projection = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb))) ORDER BY projection FOR UPDATE`,
      values: [tenantUid, names],
    },
  )
  return new Map(rows.map(({ projection, position }) => [String(projection), Number(position)]))
}

/** Notes that the snapshots of projections hold all up to `position`. */
export function advanceSnapshots(tenantUid: string, projections: readonly Projection[], position: number): Statement {
  return {
    name: 'snapshots.advance',
    text: (schema) => `
      UPDATE ${schema}snapshots SET position = $3
      WHERE tenant_id = $1 AND projection = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)))`,
    values: [tenantUid, namesOf(projections), position],
  }
}

/** Where the snapshot of a projection stands, 0 where there is none. Nobody moves it before the transaction ends. */
export async function holdSnapshot(run: Run, tenantUid: string, projection: string): Promise<number> {
  const [row] = await run({
    name: 'snapshots.hold',
    text: (schema) => `SELECT position FROM ${schema}snapshots WHERE tenant_id = $1 AND projection = $2 FOR SHARE`,
    values: [tenantUid, projection],
  })
  return Number(row?.position ?? 0)
}

/** Makes the read model what its snapshot is. */
export function restoreSnapshot(tenantUid: string, { tables }: Projection): Statement[] {
  return tables.flatMap((table) => [
    { name: `${table}.empty`, text: (schema) => `DELETE FROM ${schema}${table} WHERE tenant_id = $1`, values: [tenantUid] },
    {
      name: `${table}.restore`,
      text: (schema) => `INSERT INTO ${schema}${table} SELECT * FROM ${schema}${table}_snapshot WHERE tenant_id = $1`,
      values: [tenantUid],
    },
  ])
}

function namesOf(projections: readonly Projection[]): string {
  return JSON.stringify(projections.map(({ name }) => name))
}
