import type { Scope } from '../../config/routing.ts'
import type { Audit } from '../events/audit.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { requireScope } from '../tenancy/scopes.ts'

/** Lets a caller ask, or throws `forbidden`. */
export type Admit = (tenant: TenantContext, asked: { name: string; scope: Scope | 'any' }) => Promise<void>

/** What is read with this scope is noted. */
const ADMINISTRATION: Scope = 'tenant:admin'

/** Asks for the scope; what administrators read, and what was refused of it, is noted in the audit log before it is read. */
export function createAdmit(audit: Audit): Admit {
  return async (tenant, { name, scope }) => {
    if (scope === 'any') return
    if (scope !== ADMINISTRATION) return requireScope(tenant, scope)
    try {
      requireScope(tenant, scope)
    } catch (error) {
      await audit.refused(tenant, name, error)
      throw error
    }
    await audit.note(tenant, name, 'done')
  }
}
