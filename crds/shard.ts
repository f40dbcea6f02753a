import type { Condition } from './condition.ts'

/** How a connection to a Shard is secured. */
export type TlsMode = 'disable' | 'require' | 'verify-full'

/** What the owner of a Shard asks for; the texts for people stand in shard.yaml. */
export type ShardSpec = {
  endpoint: { host: string; port: number; database: string }
  adminSecretRef: { name: string }
  tls: { mode: TlsMode; caSecretRef?: { name: string; key: string } }
  capacity: { tenants: number }
  schedulable: boolean
}

/** What the operator has found; it may be lost and is worked out again. */
export type ShardStatus = {
  observedGeneration?: number
  conditions?: Condition[]
  serverVersion?: string
  tenants?: number
}

export const SHARD_CONDITIONS = ['Ready', 'Reachable', 'Stalled'] as const
