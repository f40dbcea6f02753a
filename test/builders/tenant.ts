import { kubectl } from './cluster.ts'

/** A Tenant as a user writes it, with one API key; what a test is about is set in `spec`. */
export function tenantManifest(name: string, spec: object = {}): object {
  return { apiVersion: 'tenantry.dev/v1alpha1', kind: 'Tenant', metadata: { name }, spec: { apiKeys: [{ name: 'main' }], ...spec } }
}

/** The token of a Tenant's key `main`, out of its Secret. */
export async function keyOf(namespace: string, tenant: string): Promise<string> {
  const secret = JSON.parse(await kubectl(['get', 'secret', `${tenant}-apikey-main`, '-n', namespace, '-o', 'json']))
  return Buffer.from(secret.data.token, 'base64').toString()
}
