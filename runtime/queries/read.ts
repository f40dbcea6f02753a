import type { Row, Statement } from '../shards/statement.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { createFlights } from './flights.ts'
import type { Answer, Query } from './query.ts'

/** The way to the tenant's rows, as shards/session gives it. */
export type RowReader = {
  read: (tenant: TenantContext, statement: Statement, signal?: AbortSignal) => Promise<readonly Row[]>
}

/** What reading needs of a cache; cache/tiers is one. Answers below a key's floor are neither kept nor given. */
export type AnswerCache = {
  /** What this process has; at once. */
  peek: (tenantUid: string, key: string) => Answer | undefined
  /** What all replicas share. Never throws: a cache that is away has nothing. */
  fetch: (tenantUid: string, key: string) => Promise<Answer | undefined>
  /** Keeps what was loaded; `begunAt` is the `mark` from before the load. */
  store: (tenantUid: string, key: string, answer: Answer, begunAt: number) => void
  /** The position below which an answer on this key is old; 0: none known. */
  floor: (tenantUid: string, key: string) => number
  mark: () => number
}

/** Answers one query of one tenant; undefined: there is no such thing. */
export type Read = <Input>(tenant: TenantContext, query: Query<Input>, input: Input, signal?: AbortSignal) => Promise<Answer | undefined>

/** Reads through the cache, one load at a time for each key. Without a cache every read goes to Postgres. */
export function createRead(rows: RowReader, cache: AnswerCache | undefined): Read {
  const flights = createFlights<Answer | undefined>()

  const load = async <Input>(
    tenant: TenantContext,
    query: Query<Input>,
    input: Input,
    signal?: AbortSignal,
  ): Promise<Answer | undefined> => {
    return query.answer(await rows.read(tenant, query.statement(tenant.uid, input), signal), input, tenant)
  }
  if (cache === undefined) return load

  return async (tenant, query, input, signal) => {
    const key = query.cacheKey(input)
    if (key === undefined) return load(tenant, query, input, signal)
    const known = cache.peek(tenant.uid, key)
    if (known !== undefined) return known
    // The floor is part of the flight's name: whoever asks after a write does not join a load from before it. A shared load
    // has no caller's signal: one who leaves must not end it for the others.
    const flight = `${tenant.uid}:${tenant.route.epoch}:${key}@${cache.floor(tenant.uid, key)}`
    return flights.share(flight, async () => {
      const shared = await cache.fetch(tenant.uid, key)
      if (shared !== undefined) return shared
      const begunAt = cache.mark()
      const answer = await load(tenant, query, input)
      if (answer !== undefined) cache.store(tenant.uid, key, answer, begunAt)
      return answer
    })
  }
}
