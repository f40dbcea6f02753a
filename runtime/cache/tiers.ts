import { channel } from 'node:diagnostics_channel'
import type { AnswerCache } from '../queries/read.ts'
import { cacheKey } from './keys.ts'
import { MemoryCache, type MemoryOptions } from './memory.ts'
import { LAPSED, type SharedCache } from './redis.ts'

const lookups = channel('tenantry:cache')

/** Both levels as one, with what keeps them true. */
export type Cache = AnswerCache & {
  /** An event at `position` has changed what stands under these keys: at once in this process, soon after in Redis. */
  raise: (tenantUid: string, keys: readonly string[], position: number) => void
  /** Events may have been missed: nothing this process has is trusted any more. */
  forget: () => void
  /** A database was set back so many milliseconds ago: nothing from before is trusted, and Redis is left alone until all of it has lapsed. */
  rewind: (agoMs: number) => void
}

/** A cache in this process and, when `redis` is given, in Redis behind it. */
export function createCache(redis: SharedCache | undefined, options?: MemoryOptions): Cache {
  const memory = new MemoryCache(options)
  let shared = redis
  let resting: NodeJS.Timeout | undefined
  return {
    peek: (uid, key) => {
      const known = memory.get(cacheKey({ uid }, key))
      lookups.publish(known === undefined ? MEMORY_MISS : MEMORY_HIT)
      return known
    },
    fetch: async (uid, key) => {
      if (shared === undefined) return undefined
      const full = cacheKey({ uid }, key)
      const begunAt = memory.mark()
      try {
        const found = await shared.get(full, uid)
        const kept = found !== undefined && memory.store(full, found, begunAt)
        lookups.publish({ level: 'l2', result: found === undefined ? 'miss' : kept ? 'hit' : 'stale' })
        return kept ? found : undefined
      } catch {
        lookups.publish({ level: 'l2', result: 'error' })
        return undefined
      }
    },
    store: (uid, key, answer, begunAt) => {
      const full = cacheKey({ uid }, key)
      if (memory.store(full, answer, begunAt)) shared?.store(full, uid, answer)
    },
    floor: (uid, key) => memory.floor(cacheKey({ uid }, key)),
    mark: () => memory.mark(),
    raise: (uid, keys, position) => {
      for (const key of keys) {
        const full = cacheKey({ uid }, key)
        memory.raise(full, position)
        shared?.raise(full, position)
      }
    },
    forget: () => memory.forget(),
    rewind: (agoMs) => {
      if (agoMs >= LAPSED) return
      memory.forget()
      shared = undefined
      clearTimeout(resting)
      resting = setTimeout(() => {
        shared = redis
      }, LAPSED - agoMs).unref()
    },
  }
}

const MEMORY_HIT = { level: 'l1', result: 'hit' }
const MEMORY_MISS = { level: 'l1', result: 'miss' }
