import type { Run } from '../shards/session.ts'
import type { Statement } from '../shards/statement.ts'

/** How far the projection has read the tenant's events; locked until the transaction ends, so that replicas go one after the other. */
export async function lockCheckpoint(run: Run, tenantUid: string, projection: string): Promise<number> {
  const [row] = await run(select(tenantUid, projection))
  if (row !== undefined) return Number(row.position)
  await run(insert(tenantUid, projection))
  const [made] = await run(select(tenantUid, projection))
  return Number(made?.position ?? 0)
}

/** Notes that the projection has read up to `position`. */
export function advanceCheckpoint(tenantUid: string, projection: string, position: number): Statement {
  return {
    name: 'checkpoint.advance',
    text: (schema) => `UPDATE ${schema}checkpoints SET position = $3 WHERE tenant_id = $1 AND projection = $2`,
    values: [tenantUid, projection, position],
  }
}

function select(tenantUid: string, projection: string): Statement {
  return {
    name: 'checkpoint.lock',
    text: (schema) => `SELECT position FROM ${schema}checkpoints WHERE tenant_id = $1 AND projection = $2 FOR UPDATE`,
    values: [tenantUid, projection],
  }
}

function insert(tenantUid: string, projection: string): Statement {
  return {
    name: 'checkpoint.make',
    text: (schema) => `INSERT INTO ${schema}checkpoints (tenant_id, projection, position) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING`,
    values: [tenantUid, projection],
  }
}
