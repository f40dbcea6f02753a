import type { Condition } from './condition.ts'
import type { Isolation } from './tenant.ts'

/** How a connection to a Shard is secured. */
export type TlsMode = 'disable' | 'require' | 'verify-full'

/** What the owner of a Shard asks for; the texts for people stand in shard.yaml. */
export type ShardSpec = {
  endpoint: { host: string; port: number; database: string }
  adminSecretRef: { name: string }
  tls: { mode: TlsMode; caSecretRef?: { name: string; key: string } }
  capacity: { tenants: number; connections: number }
  isolations: Isolation[]
  schedulable: boolean
  credentials?: { rotateAfter?: string }
  warmSchemas: number
}

/** What the operator has found; it may be lost and is worked out again. */
export type ShardStatus = {
  observedGeneration?: number
  conditions?: Condition[]
  serverVersion?: string
  tenants?: number
  connections?: ShardConnections
}

/** The most connections to a Shard, how many replicas of the runtime share them, what each of those may have, and how many there were. */
export type ShardConnections = { budget: number; replicas?: number; perReplica: number; used: number }

const SHARD_CONDITIONS = ['Ready', 'Reachable', 'Stalled'] as const

/** The type of a Shard's condition. */
export type ShardCondition = (typeof SHARD_CONDITIONS)[number]

/** Stands on a Shard until no Tenant lives there. */
export const SHARD_FINALIZER = 'tenantry.dev/shard'

/** Every reason a Shard's conditions may have, and what it means; the closed list of the contract. */
export const SHARD_REASONS = {
  ShardReady: 'The database is set up and Tenants can be placed.',
  Reachable: 'The operator is logged in to the server.',
  AdminSecretMissing: 'The Secret in spec.adminSecretRef does not exist.',
  AdminSecretInvalid: 'That Secret lacks username or password.',
  CaSecretMissing: 'The Secret in spec.tls.caSecretRef does not exist.',
  CaSecretInvalid: 'That Secret has no PEM certificate under the key.',
  Unreachable: 'The server does not answer.',
  TlsNotOffered: 'The server does not offer TLS.',
  CertificateInvalid: 'The certificate of the server is not accepted.',
  AuthenticationFailed: 'The server refuses the admin login.',
  TooManyConnections: 'The server has no connection left.',
  VersionUnsupported: 'The server is older than Postgres 16.',
  AdminIsSuperuser: 'The admin login is a superuser, which it must not be.',
  AdminRightsMissing: 'The admin login lacks CREATEROLE or CREATEDB.',
  NameConflict: 'The database or one of its roles belongs to somebody else.',
  SetupFailed: 'A statement that sets the database up failed.',
  RuntimeLoginRefused: 'The server refuses the login that was made for the runtime.',
  ConnectionBudgetTooSmall: 'spec.capacity.connections leaves less than three connections for each replica of the runtime.',
  TenantsRemain: 'The Shard is to be deleted, which waits until no Tenant lives there.',
} as const satisfies Record<string, string>

/** A word out of `SHARD_REASONS`. */
export type ShardReason = keyof typeof SHARD_REASONS
