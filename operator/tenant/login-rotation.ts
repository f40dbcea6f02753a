import { readSpareLogin } from '../postgres/catalog.ts'
import { letIn, limitLogin } from '../postgres/databases.ts'
import { sharedBy } from '../postgres/login.ts'
import { ownLogins } from '../postgres/names.ts'
import { loginIn, readLogin } from '../routing/credentials.ts'
import { applyRotation } from '../shard/rotate.ts'
import { planRotation } from '../shard/rotation.ts'
import type { Tenant } from './home.ts'
import { CATCH_UP_MS } from './last-writes.ts'
import type { Target } from './target.ts'

/**
 * Replaces the login of a tenant's own database when it is old enough, and revokes the one before. Gives when there is more to do. Throws when
 * the server is out of reach; whatever else fails leaves the login in use as good as it was.
 */
export async function rotateLogin(target: Target, tenant: Tenant, now: number, signal: AbortSignal): Promise<number | undefined> {
  const { tools, shard, physical, identity, database } = target
  const before = loginIn(tools.logins(), physical.role)
  if (before === undefined) return undefined
  const { spare } = ownLogins(physical.role, before.username)
  const turn = { issuedAt: before.issuedAt, spare: await readSpareLogin(database, spare) }
  const rotation = planRotation(turn, tenant.spec.credentials?.rotateAfter, now)
  if (rotation.steps.length === 0) return rotation.nextMs
  // The watch may not have brought back the last rotation yet: what it takes for the spare would be the login in use.
  const fresh = await readLogin({ client: tools.client, namespace: identity.namespace, signal }, physical.role)
  if (fresh?.password !== before.password) return CATCH_UP_MS
  const half = sharedBy(2, target.limits)
  const logins = {
    object: tenant,
    key: physical.role,
    before,
    spare,
    prepare: (verifier: string) =>
      `${letIn(physical, { login: spare, verifier, limits: half })}\n${limitLogin(physical, before.username, half)}`,
    alone: limitLogin(physical, before.username, target.limits),
    prove: (password: string) =>
      tools.connections.apart(shard, physical.database, (own) => own.run('SELECT 1'), { username: spare, password }),
    database,
  }
  return applyRotation(tools, logins, rotation, signal)
}
