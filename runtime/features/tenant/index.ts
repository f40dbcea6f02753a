import type { Feature } from '../feature.ts'
import { GetTenant } from './queries.ts'

/** What a tenant may know of itself. */
export const tenant: Feature = { name: 'tenant', commands: [], queries: [GetTenant], projections: [], invalidates: () => [] }
