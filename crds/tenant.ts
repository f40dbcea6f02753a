import type { Condition } from './condition.ts'

/** How a tenant is kept apart from the others. */
export type Isolation = 'row' | 'schema' | 'database'

/** What becomes of a tenant's data when its Tenant is deleted. */
export type DeletionPolicy = 'Retain' | 'Delete'

/** What a tenant has booked; each gives default limits. */
export type Plan = 'free' | 'basic' | 'premium'

/** What the owner of a Tenant asks for; the texts for people stand in tenant.yaml. */
export type TenantSpec = {
  displayName?: string
  plan: Plan
  isolation: Isolation
  shardRef?: { name: string }
  placement?: { shardSelector: LabelSelector }
  hosts?: string[]
  apiKeys?: ApiKeySpec[]
  jwt?: JwtSpec
  suspended: boolean
  /** RFC 3339. */
  subscriptionEndsAt?: string
  limits?: {
    requestsPerSecond?: number
    burst?: number
    concurrency?: number
    connections?: number
    tasks?: number
    users?: number
    storageMiB?: number
  }
  /** And whatever else its owner wrote. */
  settings?: { allowedOrigins?: string[]; auditRetentionDays?: number; eventRetentionDays?: number; taskRetentionDays?: number }
  adopt?: string
  credentials?: { rotateAfter?: string }
  deletionPolicy: DeletionPolicy
  deletionProtection: boolean
}

/** What a caller may do. */
export type Scope = 'tasks:read' | 'tasks:write' | 'users:read' | 'users:write' | 'events:read' | 'tenant:admin'

/** An API key that is wanted; times in RFC 3339. */
export type ApiKeySpec = { name: string; rotateAt?: string; scopes: Scope[]; expiresAt?: string }

/** What a token may be signed with. */
type Algorithm = 'RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA'

/** The public part of a JSON Web Key. */
type PublicKey = {
  kty: 'RSA' | 'EC' | 'OKP'
  kid?: string
  alg?: Algorithm
  use?: 'sig'
  crv?: 'P-256' | 'P-384' | 'P-521' | 'Ed25519'
  n?: string
  e?: string
  x?: string
  y?: string
}

/** The tenant's identity provider. */
export type JwtSpec = { issuer: string; audiences: string[]; algorithms: Algorithm[]; jwksUri?: string; jwks?: { keys: PublicKey[] } }

/** A selector as Kubernetes has it: every label and every expression must hold. */
export type LabelSelector = {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'; values?: string[] }[]
}

export const TENANT_PHASES = ['Pending', 'Provisioning', 'Ready', 'Suspended', 'Deleting', 'Failed'] as const

/** Where a tenant stands, for the eyes of people; programs read the conditions. */
export type TenantPhase = (typeof TENANT_PHASES)[number]

/** What the operator has found; only `shard`, which the annotation `TENANT_PLACED` repeats, and `epoch`, which the Shard records, cannot be worked out again. */
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
  usage?: TenantUsage
}

/** What a tenant was last found to use; `sampledAt` in RFC 3339. `dataBytes` is what `limits.storageMiB` limits; left out: it was counted by an operator that did not know it. */
export type TenantUsage = { tasks: number; users?: number; dataBytes?: number; storageBytes: number; sampledAt: string }

const TENANT_CONDITIONS = [
  'Ready',
  'Placed',
  'Provisioned',
  'SchemaCurrent',
  'IsolationVerified',
  'Routed',
  'Reconciling',
  'Stalled',
] as const

/** The type of a Tenant's condition. */
export type TenantCondition = (typeof TENANT_CONDITIONS)[number]

/** Stands on a Tenant until its data has been kept or removed as `deletionPolicy` says. */
export const TENANT_FINALIZER = 'tenantry.dev/tenant'

/** On a Tenant: where it was placed and why, written together with the finalizer, before anything is made there. */
export const TENANT_PLACED = 'tenantry.dev/placed'

/** On a Tenant under deletion, with the Tenant's own name as value: it may go although its data can be neither kept safe nor removed. */
export const TENANT_RELEASE = 'tenantry.dev/release'

/**
 * On a namespace: `true` while Tenants or Shards are there, and the admission policy refuses to delete it; with another value it does not. As a
 * finalizer on what the operator needs to see them out of a namespace that is deleted all the same.
 */
export const NAMESPACE_IN_USE = 'tenantry.dev/in-use'

/** Every reason a Tenant's conditions may have, and what it means; the closed list of the contract. */
export const TENANT_REASONS = {
  TenantReady: 'The next request is served.',
  Suspended: 'Requests are refused: spec.suspended is true, or spec.subscriptionEndsAt is past; data and keys are kept.',
  NamedShard: 'Lives on the Shard that spec.shardRef names.',
  LeastLoadedShard: 'Was placed on the Shard with the most room, of those that were possible.',
  ShardNotFound: 'The Shard does not exist.',
  ShardNotReady: 'The Shard is not Ready.',
  ShardCordoned: 'The named Shard takes no new Tenants: spec.schedulable is false.',
  IsolationNotOffered: 'The named Shard does not accept the isolation of the Tenant: spec.isolations.',
  ShardFull: 'The named Shard holds as many Tenants as spec.capacity.tenants allows.',
  PlacedElsewhere: 'spec.shardRef was changed after the Tenant had been placed on another Shard.',
  NoShardAvailable:
    'There is no Shard that is Ready, schedulable, below its capacity, accepts the isolation and, where a selector is given, is matched by it.',
  Waiting: 'Waits for an earlier step.',
  Provisioned: 'What the isolation asks for stands on the Shard: rows, or schema and role, or database and login.',
  ShardUnreachable: 'The database does not answer.',
  NameConflict: 'What the Tenant needs exists already and belongs to somebody else.',
  AdoptRefused: 'The data that spec.adopt names is in use, of another isolation, or not there.',
  DataMissing: 'The schema, database or role was removed by hand.',
  ProvisioningFailed: 'A statement failed.',
  SchemaCurrent: 'All migrations have run.',
  SchemaBehind: 'Migrations have yet to run.',
  MigrationFailed: 'A migration failed and was rolled back.',
  BreakInRefused: "The operator has just tried to reach a neighbour with this tenant's access, and was refused every time.",
  NeighbourReached: "With this tenant's access something of a neighbour was reached.",
  RoleTooPowerful: 'The role of the tenant has attributes or owns things that no tenant may.',
  ForeignAccess: 'PUBLIC or another role has rights on what is the tenant’s.',
  RowSecurityOff: 'Row-level security of a shared table is off, not forced, or weakened by another policy.',
  UnsafeObject: 'A view, materialized view or function among the tenant’s tables runs as its owner.',
  NotVerified: 'The attempt to break in could not be made.',
  Published: 'The route stands in the routing config.',
  HostTaken: 'An older Tenant has one of the hosts.',
  InProgress: 'The operator is at work on it.',
  DeletionBlocked: 'The data could not be kept or removed as spec.deletionPolicy says, or something was left; it is tried again.',
} as const satisfies Record<string, string>

/** A word out of `TENANT_REASONS`. */
export type TenantReason = keyof typeof TENANT_REASONS
