import { randomBytes } from 'node:crypto'
import { expect, vi } from 'vitest'
import type { Isolation } from '../../crds/tenant.ts'
import type { Client } from '../../operator/kubernetes/client.ts'
import { TENANTS } from '../../operator/kubernetes/object.ts'
import type { Subject } from './tenant-state.ts'

/** Where Tenants are made: on `shard-a`, whose database this is. */
export type Ground = { client: Client; namespace: string; database: string }

/** What is done to a Tenant. `exists`: it must stand before. */
export type Operation = {
  what: string
  deletionPolicy: 'Retain' | 'Delete'
  exists: boolean
  begin: (subject: Subject) => Promise<unknown>
}

const PATIENCE = { timeout: 40_000, interval: 60 }
const CHANGED = { plan: 'premium', displayName: 'Other', suspended: true, apiKeys: [{ name: 'main' }, { name: 'new' }] }

/** Everything that can be asked of a Tenant's life. */
export const OPERATIONS: Operation[] = [
  { what: 'create', deletionPolicy: 'Delete', exists: false, begin: async () => {} },
  { what: 'update', deletionPolicy: 'Delete', exists: true, begin: change },
  { what: 'delete, data kept', deletionPolicy: 'Retain', exists: true, begin: remove },
  { what: 'delete, data removed', deletionPolicy: 'Delete', exists: true, begin: remove },
]

/** Makes a Tenant with two keys, under a name that no other has unless one is given, and on `shard-a` unless told otherwise. */
export async function createSubject(
  ground: Ground,
  isolation: Isolation,
  { deletionPolicy }: Pick<Operation, 'deletionPolicy'>,
  name: string = `c${randomBytes(5).toString('hex')}`,
  shard = 'shard-a',
): Promise<Subject> {
  const spec = {
    plan: 'free' as const,
    isolation,
    deletionPolicy,
    apiKeys: [
      { name: 'main', scopes: ['tasks:read' as const] },
      { name: 'old', scopes: ['tasks:read' as const] },
    ],
    shardRef: { name: shard },
    suspended: false,
    deletionProtection: false,
  }
  const { metadata } = await ground.client.create(TENANTS, ground.namespace, { metadata: { name }, spec })
  return { ...ground, name, uid: metadata.uid }
}

/** Waits until the Tenant says of its present generation how it stands, for good; gives what it says, or `gone`. */
export function settled({ client, namespace, name }: Subject): Promise<string> {
  return vi.waitFor(async () => {
    const tenant = await client.get(TENANTS, namespace, name)
    if (tenant === undefined) return 'gone'
    const ready = tenant.status?.conditions?.find(({ type }) => type === 'Ready')
    expect(tenant.metadata.deletionTimestamp).toBeUndefined()
    expect(ready).toMatchObject({
      observedGeneration: tenant.metadata.generation,
      reason: expect.stringMatching(/^(TenantReady|Suspended)$/),
    })
    return ready?.reason ?? ''
  }, PATIENCE)
}

/** Deletes the Tenant. */
export function remove({ client, namespace, name }: Subject): Promise<void> {
  return client.delete(TENANTS, namespace, name)
}

function change({ client, namespace, name }: Subject): Promise<unknown> {
  return client.patch(TENANTS, namespace, name, { spec: CHANGED })
}
