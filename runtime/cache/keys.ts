import type { Route } from '../../config/routing.ts'

/** What a key is made for: every key carries the tenant's UID, which a later tenant of the same name does not share. */
export type KeyOwner = Pick<Route, 'uid'>

/** The key of `key` of one tenant, in every level of the cache. The only place that makes one. Throws when the UID is missing. */
export function cacheKey(owner: KeyOwner, key: string): string {
  if (owner.uid === '') throw new Error('a cache key needs the UID of its tenant')
  return `${owner.uid}:${key}`
}
