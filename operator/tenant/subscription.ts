import type { Route } from '../../config/routing.ts'
import type { TenantSpec } from '../../crds/tenant.ts'

/** Until when a tenant is served. */
export type Subscription = Pick<TenantSpec, 'suspended' | 'subscriptionEndsAt'>

// A timer of more than 2^31 ms would run at once, and one of many days says nothing when the clock is set meanwhile.
const LONGEST_MS = 24 * 3_600_000

/** Why a tenant is suspended and what serves it again, for people; undefined: it is served. */
export function suspensionOf({ suspended, subscriptionEndsAt }: Subscription, now: number): string | undefined {
  const kept = 'Requests are refused; data and keys are kept.'
  if (suspended) return `${kept} To serve the tenant again, set spec.suspended to false.`
  if (subscriptionEndsAt === undefined || Date.parse(subscriptionEndsAt) > now) return undefined
  return `${kept} The subscription ended at ${subscriptionEndsAt}: to serve the tenant again, set spec.subscriptionEndsAt to a later time, or remove it.`
}

/** Milliseconds after which a tenant that is served is to be looked at again, because its subscription may have ended; undefined: it never ends. */
export function nextLook({ suspended, subscriptionEndsAt }: Subscription, now: number): number | undefined {
  if (suspended || subscriptionEndsAt === undefined) return undefined
  return Math.min(Math.max(Date.parse(subscriptionEndsAt) - now, 0), LONGEST_MS)
}

/** What the route says of it. The end is published ahead of time, so that every replica keeps to it by its own clock. */
export function routeState(subscription: Subscription, now: number): Pick<Route, 'state' | 'subscriptionEndsAt'> {
  const { subscriptionEndsAt: end } = subscription
  return {
    state: suspensionOf(subscription, now) === undefined ? 'active' : 'suspended',
    ...(end === undefined ? {} : { subscriptionEndsAt: new Date(end).toISOString() }),
  }
}
