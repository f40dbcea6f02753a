import type { z } from 'zod'
import type { Scope } from '../../config/routing.ts'
import type { Row, Statement } from '../shards/statement.ts'
import type { TenantContext } from '../tenancy/context.ts'

/** What a query answers: bytes that were built in Postgres and are passed through. */
export type Answer = {
  /** JSON. */
  body: string
  /** The tenant's position at which the answer was true. */
  position: number
  /** Version of the one thing it shows, for `ETag`; lists have none. */
  version?: number
}

/** One kind of query, declared as data so that http/ mounts every feature's queries the same way. */
export type Query<Input> = {
  name: string
  /** What it answers, in a few words for the document. */
  summary: string
  /** What the caller must be allowed to do; `any`: whatever it is. */
  scope: Scope | 'any'
  route: { path: string }
  /** Parses path parameters and query string as one object, strictly; values arrive as strings. */
  input: z.ZodType<Input>
  /** The shape of the answer's body; its `title` is the name in the OpenAPI document. */
  output: z.ZodType
  /** True: its answers have a version. */
  versioned: boolean
  /** The cache key inside the tenant, such as `task:<id>`; undefined: never cached. */
  cacheKey: (input: Input) => string | undefined
  statement: (tenantUid: string, input: Input) => Statement
  /** Undefined: there is no such thing, 404. */
  answer: (rows: readonly Row[], input: Input, tenant: Pick<TenantContext, 'uid' | 'route'>) => Answer | undefined
}
