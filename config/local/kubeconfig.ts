import { readFile } from 'node:fs/promises'
import { stringify } from 'yaml'
import type { CertificateFiles } from './certificates.ts'

/** Where an API server is, and the namespace its context names. */
export type Cluster = { server: string; ca: string; namespace: string }

/** A kubeconfig, as text, whose user shows a client certificate. */
export async function kubeconfigWithCertificate(cluster: Cluster, files: CertificateFiles): Promise<string> {
  const [certificate, key] = await Promise.all([readFile(files.certificateFile), readFile(files.keyFile)])
  return kubeconfigOf(cluster, { 'client-certificate-data': certificate.toString('base64'), 'client-key-data': key.toString('base64') })
}

/** A kubeconfig, as text, whose user shows a token. */
export function kubeconfigWithToken(cluster: Cluster, token: string): string {
  return kubeconfigOf(cluster, { token })
}

function kubeconfigOf({ server, ca, namespace }: Cluster, user: Record<string, string>): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'tenantry',
    clusters: [{ name: 'tenantry', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
    users: [{ name: 'tenantry', user }],
    contexts: [{ name: 'tenantry', context: { cluster: 'tenantry', user: 'tenantry', namespace } }],
  })
}
