import type { Route } from '../../config/routing.ts'
import type { TenantSpec } from '../../crds/tenant.ts'

/** How long the settings of one Tenant may be as JSON: a routing document of 1 MiB has to hold those of a thousand. */
export const LONGEST_SETTINGS = 4_096

/** What the route says of the tenant besides where it is. Settings that are too long are left out, and the rest of the route stays as it is. */
export function describeTenant(
  spec: Pick<TenantSpec, 'displayName' | 'plan' | 'settings'>,
): Pick<Route, 'displayName' | 'plan' | 'settings'> {
  const { displayName, plan, settings } = spec
  return {
    ...(displayName === undefined ? {} : { displayName }),
    plan,
    ...(settings === undefined || isTooLong(settings) ? {} : { settings }),
  }
}

/** Whether the settings are too long for a route. */
export function isTooLong(settings: TenantSpec['settings']): boolean {
  return settings !== undefined && JSON.stringify(settings).length > LONGEST_SETTINGS
}
