import { Redis } from 'ioredis'
import type { Log } from '../../config/log.ts'
import { type Breaker, createBreaker } from '../resilience/breaker.ts'

/** A command that takes longer than this has failed, in milliseconds: by then Postgres would have answered. */
const DEADLINE = 50

/** The connection that everything shares, and the breaker that all its commands go through. */
export type RedisConnection = { redis: Redis; breaker: Breaker; close: () => void }

/** Connects for ever in the background; Redis may be away from the start. Every key gets the prefix `tenantry:`. */
export function connectRedis(url: string, log: Log): RedisConnection {
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: DEADLINE,
    connectTimeout: 1_000,
    keyPrefix: 'tenantry:',
    retryStrategy: (attempt) => Math.min(100 * 2 ** Math.min(attempt, 5), 2_000) * (0.5 + Math.random() / 2),
  })
  logState(redis, log)
  const breaker = createBreaker('redis', { failures: 5, halfOpenAfter: 500, counts: () => true })
  return { redis, breaker, close: () => redis.disconnect() }
}

/** Once when it goes and once when it comes back; ioredis tells every attempt. */
function logState(redis: Redis, log: Log): void {
  let up: boolean | undefined
  redis.on('ready', () => {
    if (up === false) log.info({ dependency: 'redis' }, 'Redis is back')
    up = true
  })
  redis.on('error', (error: Error) => {
    if (up !== false)
      log.warn(
        { dependency: 'redis', error: error.message },
        'Redis is away; reads go to Postgres, and each replica limits requests by itself',
      )
    up = false
  })
}
