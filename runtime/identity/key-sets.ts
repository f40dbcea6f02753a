import { createLocalJWKSet, createRemoteJWKSet, customFetch, type JWTVerifyGetKey } from 'jose'
import { LRUCache } from 'lru-cache'
import type { Route } from '../../config/routing.ts'
import { createFetchKeys } from './fetch-keys.ts'

/**
 * How long keys that were read from an address are taken as current, how often a token that names another key may have them read again,
 * and how long a reading may take: milliseconds.
 */
const READING = { cacheMaxAge: 600_000, cooldownDuration: 30_000, timeoutDuration: 3_000 }

const MOST_ADDRESSES = 10_000

/** The keys of tenants' identity providers. Each tenant has its own, also where two name the same address. */
export class KeySets {
  readonly #inline = new WeakMap<Route, JWTVerifyGetKey>()
  readonly #byAddress = new LRUCache<string, JWTVerifyGetKey>({ max: MOST_ADDRESSES })

  /** What finds the key that a token was signed with, of those that this tenant names. Throws where they are none. */
  of(route: Route): JWTVerifyGetKey {
    const { jwks, jwksUri } = route.jwt ?? {}
    if (jwksUri !== undefined) return this.#at(`${route.uid} ${jwksUri}`, jwksUri)
    const keys = this.#inline.get(route) ?? createLocalJWKSet({ keys: jwks?.keys ?? [] })
    this.#inline.set(route, keys)
    return keys
  }

  // Kept by name, not by route: the route is another object whenever something of it changes.
  #at(name: string, address: string): JWTVerifyGetKey {
    const keys = this.#byAddress.get(name) ?? createRemoteJWKSet(new URL(address), { ...READING, [customFetch]: createFetchKeys() })
    this.#byAddress.set(name, keys)
    return keys
  }
}
