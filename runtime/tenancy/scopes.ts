import { SCOPES, type Scope } from '../../config/routing.ts'
import { TenantryError } from '../errors.ts'
import type { TenantContext } from './context.ts'

/** Throws `forbidden`, naming the scope, when the caller does not have it. The buses ask, so that no protocol can forget to. */
export function requireScope({ scopes }: Pick<TenantContext, 'scopes'>, scope: Scope): void {
  if (scopes.has(scope)) return
  throw new TenantryError('forbidden', `This needs the scope ${scope}, which the credential does not have.`, {
    faults: [{ field: 'scope', message: `must include ${scope}` }],
    challenge: { error: 'insufficient_scope', scope },
  })
}

/** What a bus finds by its name: one of each name, each with its scope. */
type Named = { name: string; scope: Scope | 'any' }

/**
 * Finds things by their names; throws for a name that none has. Throws at once when two have the same name, or one names no scope and does
 * not say that it needs none: it would be open to every caller by mistake. `kind` is for the messages.
 */
export function finder<Thing extends Named>(kind: string, things: readonly Thing[]): (name: string) => Thing {
  const byName = new Map<string, Thing>()
  for (const thing of things) {
    const { name, scope } = thing
    if (byName.has(name)) throw new Error(`two handlers for ${kind} ${name}`)
    if (scope !== 'any' && !SCOPES.includes(scope)) throw new Error(`${name} names no scope that it needs`)
    byName.set(name, thing)
  }
  return (name) => {
    const thing = byName.get(name)
    if (thing === undefined) throw new Error(`no handler for ${kind} ${name}`)
    return thing
  }
}
