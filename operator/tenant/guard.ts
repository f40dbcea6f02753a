import { channel } from 'node:diagnostics_channel'
import type { Tenant } from './home.ts'
import type { Target } from './target.ts'
import { CONNECT, repairTenant, type Verdict, verifyTenant } from './verify.ts'

// A wall that was found down: `{ isolation, reason }`.
const breachChannel = channel('tenantry:breach')

/** Tries the tenant's wall, and when it is down does what the setting says. Gives what is so in the end. */
export async function guard(target: Target, tenant: Tenant): Promise<Verdict> {
  const { tools, isolation, shard } = target
  const verdict = await verifyTenant(target)
  if (verdict.kind !== 'broken') return verdict
  breachChannel.publish({ isolation, reason: verdict.reason })
  if (tools.onBreach === 'suspend') return verdict
  if (isolation !== 'row') return mend(target, tenant, verdict)
  // The wall of the shared tables is that of all their tenants, and of the Shard's pass: whoever comes first mends it, and tells of it.
  return tools.connections.inTurn(shard, async () => mend(target, tenant, await verifyTenant(target)))
}

async function mend(target: Target, tenant: Tenant, found: Verdict): Promise<Verdict> {
  if (found.kind !== 'broken') return found
  await repairTenant(target)
  const after = await verifyTenant(target)
  const left = after.kind === 'broken' ? after.what : []
  // Who may connect to the Shard's own databases is put right, and told of, by the Shard's pass.
  const taken = found.what.filter((what) => !left.includes(what) && !what.startsWith(CONNECT))
  if (taken.length > 0) void target.tools.recorder.record(tenant, 'Warning', 'IsolationRepaired', `Took away: ${taken.join('; ')}.`)
  return after
}
