import { v7 as uuidv7 } from 'uuid'
import { ERRORS, TenantryError } from '../errors.ts'
import type { Session } from '../shards/session.ts'
import type { Statement } from '../shards/statement.ts'
import type { TenantContext } from '../tenancy/context.ts'

/** Notes what leaves no event: what was refused, and what an administrator reads. What is done stands with the events of its own transaction. */
export type Audit = {
  /** Resolves when it is written. Throws TenantryError when it cannot be. */
  note: (tenant: TenantContext, action: string, result: string, target?: string) => Promise<void>
  /** Notes why something was refused. Never throws: a tenant whose database is away is told that, and nothing was done. */
  refused: (tenant: TenantContext, action: string, error: unknown, target?: string) => Promise<void>
}

/** Writes into each tenant's own storage. */
export function createAudit(session: Session): Audit {
  const note: Audit['note'] = async (tenant, action, result, target) => {
    const { caller, requestId } = tenant
    const entry = { id: uuidv7(), number: nextNumber(), caller, action, result, target: target ?? null, requestId }
    await session.bundle(tenant, [writeAudit(tenant.uid, entry)])
  }
  return {
    note,
    refused: async (tenant, action, error, target) => {
      if (!(error instanceof TenantryError) || ERRORS[error.code] >= 500) return
      await note(tenant, action, error.code, target).catch(() => undefined)
    },
  }
}

let last = 0

/** Goes up with the time: two lines of one position keep their order. */
function nextNumber(): number {
  last = Math.max(last + 1, Date.now() * 1_000)
  return last
}

/** One line of the audit log that no event tells: a command that was refused, or what an administrator has read. */
type AuditEntry = { id: string; number: number; caller: string; action: string; result: string; target: string | null; requestId: string }

/** Writes it behind the events that are there. */
function writeAudit(tenantUid: string, { id, number, caller, action, result, target, requestId }: AuditEntry): Statement {
  return {
    name: 'audit.write',
    text: (schema) => `
      INSERT INTO ${schema}audit (tenant_id, position, number, id, time, caller, action, result, target, request_id)
      SELECT h.tenant, h.position, $2, $3, now(), $4, $5, $6, $7, $8 FROM tenantry.head h WHERE h.tenant = $1`,
    values: [tenantUid, number, id, caller, action, result, target, requestId],
  }
}
