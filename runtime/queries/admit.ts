import type { Scope } from '../../config/routing.ts'
import type { Audit } from '../events/audit.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { requireScope } from '../tenancy/scopes.ts'

/** Lets a caller ask, or throws `forbidden`; at once where nothing is to be noted, which is what most ask. */
export type Admit = (tenant: TenantContext, asked: { name: string; scope: Scope | 'any' }) => void | Promise<void>

/** What is read with this scope is noted. */
const ADMINISTRATION: Scope = 'tenant:admin'

/** Asks for the scope; what administrators read, and what was refused of it, is noted in the audit log before it is read. */
export function createAdmit(audit: Audit): Admit {
  const admitNoted = async (tenant: TenantContext, name: string): Promise<void> => {
    try {
      requireScope(tenant, ADMINISTRATION)
    } catch (error) {
      await audit.refused(tenant, name, error)
      throw error
    }
    await audit.note(tenant, name, 'done')
  }
  return (tenant, { name, scope }) => {
    if (scope === ADMINISTRATION) return admitNoted(tenant, name)
    return scope === 'any' ? undefined : requireScope(tenant, scope)
  }
}
