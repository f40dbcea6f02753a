import { SCOPES, type Scope } from '../../config/routing.ts'
import { TenantryError } from '../errors.ts'
import type { TenantContext } from './context.ts'

/** Throws `forbidden`, naming the scope, when the caller does not have it. The buses ask, so that no protocol can forget to. */
export function requireScope({ scopes }: Pick<TenantContext, 'scopes'>, scope: Scope): void {
  if (scopes.has(scope)) return
  throw new TenantryError('forbidden', `This needs the scope ${scope}, which the credential does not have.`, {
    faults: [{ field: 'scope', message: `must include ${scope}` }],
  })
}

/** Throws when what a bus is given names no scope, and does not say that it needs none: it would be open to every caller by mistake. */
export function checkScope({ name, scope }: { name: string; scope: Scope | 'any' }): void {
  if (scope !== 'any' && !SCOPES.includes(scope)) throw new Error(`${name} names no scope that it needs`)
}
