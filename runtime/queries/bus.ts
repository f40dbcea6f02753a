import type { Audit } from '../events/audit.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { finder } from '../tenancy/scopes.ts'
import { createAdmit } from './admit.ts'
import type { Answer, Query } from './query.ts'
import type { Read } from './read.ts'

/** The one way to ask: by the name of the query. */
export type QueryBus = {
  /** Answers `name` for `tenant`; `input` was parsed by the query's schema. Undefined: there is no such thing. Throws when the name is not known, and `forbidden` when the caller lacks its scope. */
  ask: (tenant: TenantContext, name: string, input: unknown, signal?: AbortSignal) => Promise<Answer | undefined>
}

// biome-ignore lint/suspicious/noExplicitAny: each query has its own input; its schema has made it before
type AnyQuery = Query<any>

/** A bus over these queries; what administrators read is noted in the audit log before it is read. Throws at once when two of them have the same name, or one names no scope. */
export function createQueryBus(queries: readonly AnyQuery[], read: Read, audit: Audit): QueryBus {
  const find = finder<AnyQuery>('query', queries)
  const admit = createAdmit(audit)
  return {
    ask: async (tenant, name, input, signal) => {
      const query = find(name)
      const admitted = admit(tenant, query)
      if (admitted !== undefined) await admitted
      return read(tenant, query, input, signal)
    },
  }
}
