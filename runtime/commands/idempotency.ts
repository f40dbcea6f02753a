import { hash } from 'node:crypto'
import { TenantryError } from '../errors.ts'
import { recordOf } from '../events/requests.ts'
import type { Session } from '../shards/session.ts'
import type { TenantContext } from '../tenancy/context.ts'
import type { AnyCommand, CommandOptions, Outcome } from './command.ts'

type Execute = (command: AnyCommand, tenant: TenantContext, input: unknown, options: CommandOptions) => Promise<Outcome>
type Record = { fingerprint: string; outcome: Outcome }

/**
 * Has a command with an `Idempotency-Key` take effect once (draft-ietf-httpapi-idempotency-key-header): its answer is written in its own
 * transaction, and who sends the same key again within 24 hours gets it once more, on whatever replica. With another command or input that
 * is `idempotency-mismatch`; while the first still runs in this process, `conflict`. A command that failed had no effect and leaves no record:
 * the retry is carried out. Keys of different callers have nothing to do with each other.
 */
export function onlyOnce(session: Session, execute: Execute): Execute {
  const running = new Set<string>()

  return async (command, tenant, input, { idempotencyKey: key, ...options }) => {
    if (key === undefined) return execute(command, tenant, input, options)
    const place = JSON.stringify([tenant.uid, tenant.caller, key])
    if (running.has(place)) {
      throw new TenantryError('conflict', 'The first request with this Idempotency-Key is still under way.', { retryAfter: 1 })
    }
    running.add(place)
    try {
      return await once(command, tenant, input, options, key)
    } finally {
      running.delete(place)
    }
  }

  async function once(command: AnyCommand, tenant: TenantContext, input: unknown, options: CommandOptions, key: string): Promise<Outcome> {
    const fingerprint = hash('sha256', JSON.stringify([command.name, input]))
    const before = await find(tenant, key, options.signal)
    if (before !== undefined) return replay(before, fingerprint)
    try {
      return await execute(command, tenant, input, { ...options, record: { key, fingerprint } })
    } catch (error) {
      // Another replica may have been first, and the command failed for what that one did: a task deleted twice is not there any more.
      const meanwhile = await find(tenant, key, options.signal).catch(() => undefined)
      if (meanwhile === undefined) throw error
      return replay(meanwhile, fingerprint)
    }
  }

  async function find(tenant: TenantContext, key: string, signal: AbortSignal): Promise<Record | undefined> {
    const [row] = await session.read(tenant, recordOf(tenant.uid, tenant.caller, key), signal)
    if (row === undefined) return undefined
    const body = row.body === null ? undefined : String(row.body)
    const outcome = { id: String(row.id), version: Number(row.version), position: Number(row.position), body, replayed: true }
    return { fingerprint: String(row.fingerprint), outcome }
  }
}

function replay({ fingerprint, outcome }: Record, wanted: string): Outcome {
  if (fingerprint === wanted) return outcome
  throw new TenantryError('idempotency-mismatch', 'This Idempotency-Key was used before, for a request with other content.', {
    faults: [{ field: 'Idempotency-Key', message: 'must be a new one for each request that is not a retry' }],
  })
}
