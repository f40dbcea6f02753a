/** A Tenant as a user writes it, with one API key; what a test is about is set in `spec`. */
export function tenantManifest(name: string, spec: object = {}): object {
  return { apiVersion: 'tenantry.dev/v1alpha1', kind: 'Tenant', metadata: { name }, spec: { apiKeys: [{ name: 'main' }], ...spec } }
}
