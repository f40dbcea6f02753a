import type { Redis } from 'ioredis'
import type { Answer } from '../queries/query.ts'
import type { Breaker } from '../resilience/breaker.ts'
import type { RedisConnection } from './connection.ts'

/** How long an entry lives, and at least how long a floor: longer than any load can take. Milliseconds. */
const TIME_TO_LIVE = 60_000

/** After so many milliseconds nothing is left of what was stored before, whatever was raised until a moment later. */
export const LAPSED = TIME_TO_LIVE + 5_000

// One hash for each key: f floor, p position, v version, t tenant, b body. Floor and entry stand together, so that a script
// compares them at once; whoever comes late with something older changes nothing.
const STORE = `
local floor = tonumber(redis.call('HGET', KEYS[1], 'f') or '0')
local kept = tonumber(redis.call('HGET', KEYS[1], 'p') or '0')
local position = tonumber(ARGV[1])
if position < floor or position < kept then return 0 end
redis.call('HSET', KEYS[1], 'p', ARGV[1], 'v', ARGV[2], 't', ARGV[3], 'b', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1`

const RAISE = `
local floor = tonumber(redis.call('HGET', KEYS[1], 'f') or '0')
local kept = tonumber(redis.call('HGET', KEYS[1], 'p') or '0')
local position = tonumber(ARGV[1])
if position > floor then redis.call('HSET', KEYS[1], 'f', ARGV[1]) end
if kept < position then redis.call('HDEL', KEYS[1], 'p', 'v', 't', 'b') end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`

/** The second level, which all replicas share. Nothing here throws but `get`, and that only when Redis is away. */
export type SharedCache = {
  /** The entry; undefined: none, or one of another tenant. Throws when Redis does not answer in time or its breaker is open. */
  get: (key: string, tenantUid: string) => Promise<Answer | undefined>
  store: (key: string, tenantUid: string, answer: Answer) => void
  raise: (key: string, position: number) => void
}

/** The second level over this connection, which it does not close. */
export function createSharedCache({ redis, breaker }: RedisConnection): SharedCache {
  const attempt = (work: () => Promise<unknown>): void => {
    breaker.run(work).catch(() => undefined)
  }
  return {
    get: (key, tenantUid) => breaker.run(async () => toAnswer(await redis.hmget(key, 'p', 'v', 't', 'b'), tenantUid)),
    store: (key, tenantUid, answer) =>
      attempt(() => redis.eval(STORE, 1, key, answer.position, answer.version ?? '', tenantUid, answer.body, TIME_TO_LIVE)),
    raise: (key, position) => attempt(() => raise(redis, key, position, breaker)),
  }
}

async function raise(redis: Redis, key: string, position: number, breaker: Breaker): Promise<unknown> {
  try {
    return await redis.eval(RAISE, 1, key, position, TIME_TO_LIVE)
  } catch (error) {
    // A full Redis refuses to write and still allows to delete.
    if (breaker.state() === 0 && error instanceof Error && error.message.includes('OOM')) return redis.unlink(key)
    throw error
  }
}

function toAnswer(fields: (string | null)[], tenantUid: string): Answer | undefined {
  const [position, version, tenant, body] = fields
  if (typeof position !== 'string' || typeof body !== 'string' || tenant !== tenantUid) return undefined
  return { body, position: Number(position), ...(version ? { version: Number(version) } : {}) }
}
