import { inject } from 'vitest'
import type { ShardSpec } from '../../crds/shard.ts'
import { kubectl } from './cluster.ts'

/** The spec of a Shard on the shared server, checked as production checks it; what a test is about is set in `changes`. */
export function shardSpec(database: string, changes: Partial<ShardSpec> = {}): Partial<ShardSpec> {
  const { host, port } = inject('postgres')
  return {
    endpoint: { host, port, database },
    adminSecretRef: { name: 'postgres-admin' },
    tls: { mode: 'verify-full', caSecretRef: { name: 'postgres-ca', key: 'ca.crt' } },
    ...changes,
  }
}

/** A Shard as a user writes it. */
export function shardManifest(name: string, spec: object, labels: Record<string, string> = {}): object {
  return { apiVersion: 'tenantry.dev/v1alpha1', kind: 'Shard', metadata: { name, labels }, spec }
}

/** Puts the Secrets that `shardSpec` names into a namespace. */
export async function applyShardSecrets(namespace: string): Promise<void> {
  const { adminUser, adminPassword, ca } = inject('postgres')
  await applyAll(namespace, [
    secret('postgres-admin', { username: adminUser, password: adminPassword }),
    secret('postgres-ca', { 'ca.crt': ca }),
  ])
}

/** A Secret as a user writes it. */
export function secret(name: string, stringData: Record<string, string>): object {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData }
}

/** Applies objects with kubectl; rejects with what it complains of. */
export async function applyAll(namespace: string, objects: readonly object[]): Promise<void> {
  const items = { apiVersion: 'v1', kind: 'List', items: objects }
  await kubectl(['apply', '--server-side', '--force-conflicts', '-n', namespace, '-f', '-'], JSON.stringify(items))
}
