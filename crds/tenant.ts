import type { Condition } from './condition.ts'

/** How a tenant is kept apart from the others. */
export type Isolation = 'schema'

/** What becomes of a tenant's data when its Tenant is deleted. */
export type DeletionPolicy = 'Retain' | 'Delete'

/** What the owner of a Tenant asks for; the texts for people stand in tenant.yaml. */
export type TenantSpec = {
  displayName?: string
  isolation: Isolation
  shardRef?: { name: string }
  placement?: { shardSelector: LabelSelector }
  hosts?: string[]
  apiKeys?: { name: string }[]
  deletionPolicy: DeletionPolicy
}

/** A selector as Kubernetes has it: every label and every expression must hold. */
export type LabelSelector = {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'; values?: string[] }[]
}

export const TENANT_PHASES = ['Pending', 'Provisioning', 'Ready', 'Deleting', 'Failed'] as const

/** Where a tenant stands, for the eyes of people; programs read the conditions. */
export type TenantPhase = (typeof TENANT_PHASES)[number]

/** What the operator has found; only `shard` and `epoch` cannot be worked out again and are checked against the Shard's own record. */
export type TenantStatus = {
  observedGeneration?: number
  phase?: TenantPhase
  conditions?: Condition[]
  shard?: string
  isolation?: Isolation
  database?: string
  schema?: string
  role?: string
  epoch?: number
  schemaVersion?: number
}

export const TENANT_CONDITIONS = ['Ready', 'Placed', 'Provisioned', 'SchemaCurrent', 'Routed', 'Reconciling', 'Stalled'] as const

/** Stands on a Tenant until its data has been kept or removed as `deletionPolicy` says. */
export const TENANT_FINALIZER = 'tenantry.dev/tenant'
