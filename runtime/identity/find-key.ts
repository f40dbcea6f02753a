import { hash, timingSafeEqual } from 'node:crypto'
import { KEY_PREFIX_LENGTH } from '../../config/routing.ts'
import type { KnownKey } from '../routing/table.ts'

/** A longer key is none of ours, and is not worth hashing. */
const LONGEST_KEY = 256

/**
 * The key whose token this is; undefined: none, or its time is over. It is found by the part of the token that is no secret, and
 * compared by hash in a time that does not depend on it. `now` is in milliseconds since 1970.
 */
export function findKey(token: string, byKey: ReadonlyMap<string, readonly KnownKey[]>, now: number): KnownKey | undefined {
  if (token.length > LONGEST_KEY) return undefined
  const digest = hash('sha256', token, 'buffer')
  const candidates = byKey.get(token.slice(0, KEY_PREFIX_LENGTH)) ?? byKey.get(digest.toString('hex'))
  const known = candidates?.find((key) => timingSafeEqual(key.digest, digest))
  return known !== undefined && known.expiresAt > now ? known : undefined
}
