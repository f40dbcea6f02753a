import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAuthority } from '../../config/local/certificates.ts'
import { apply, kubectl } from '../e2e/platform.ts'

const NAMESPACE = 'tenantry-metrics'
const API = 'v1beta2.custom.metrics.k8s.io'
const METADATA = { name: 'adapter', namespace: NAMESPACE }
/** What an autoscaler may scale by. */
export const IN_FLIGHT = 'tenantry_http_in_flight'

type Certificate = Record<'ca.crt' | 'tls.crt' | 'tls.key', string>

/** Has the cluster serve requests in flight as a custom metric, unless something serves such metrics there; to be ended by what it gives. */
export async function serveCustomMetrics(): Promise<() => Promise<void>> {
  if ((await kubectl(['get', 'apiservices', '-o', 'name'])).includes('.custom.metrics.k8s.io')) return async () => undefined
  const tls = await certificate()
  await apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [...(await pod(tls)), ...rights(), ...service(tls)] }))
  await kubectl(['wait', '--for=condition=Available', `apiservice/${API}`, '--timeout=120s'])
  return async () => {
    await kubectl(['delete', `apiservice/${API}`, `namespace/${NAMESPACE}`])
    await kubectl(['delete', `rolebinding/${NAMESPACE}`, `role/${NAMESPACE}`])
  }
}

/** The program with the runtime's image, which is there and has Node. */
async function pod(tls: Certificate): Promise<object[]> {
  const deployment = JSON.parse(await kubectl(['get', 'deployment', 'tenantry-runtime', '-o', 'json']))
  const [{ image, ports }] = deployment.spec.template.spec.containers
  const { containerPort } = ports.find(({ name }: { name: string }) => name === 'metrics')
  const env = {
    NAMESPACE: deployment.metadata.namespace,
    SELECTOR: 'app.kubernetes.io/name=tenantry-runtime',
    METRIC: IN_FLIGHT,
    METRICS_PORT: String(containerPort),
  }
  const container = {
    name: 'adapter',
    image,
    command: ['node', '/adapter/adapter.ts'],
    env: Object.entries(env).map(([name, value]) => ({ name, value })),
    readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 },
    volumeMounts: ['adapter', 'tls'].map((name) => ({ name, mountPath: `/${name}` })),
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
  }
  const spec = {
    serviceAccountName: 'adapter',
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [container],
    volumes: [
      { name: 'adapter', configMap: { name: 'adapter' } },
      { name: 'tls', secret: { secretName: 'adapter' } },
    ],
  }
  const labels = { 'tenantry.dev/monitoring': 'true', 'pod-security.kubernetes.io/enforce': 'restricted' }
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: METADATA },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: METADATA, data: { 'adapter.ts': await source() } },
    { apiVersion: 'v1', kind: 'Secret', metadata: METADATA, stringData: tls },
    { apiVersion: 'v1', kind: 'Pod', metadata: { ...METADATA, labels: { app: 'adapter' } }, spec },
  ]
}

function source(): Promise<string> {
  return readFile(join(import.meta.dirname, 'adapter.ts'), 'utf8')
}

async function certificate(): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-certificates-'))
  try {
    const authority = await openAuthority(folder, 'Tenantry adapter')
    const { certificateFile, keyFile } = await authority.issue('server', { name: 'adapter', hosts: [`adapter.${NAMESPACE}.svc`] })
    const [certificate, key] = await Promise.all([certificateFile, keyFile].map((file) => readFile(file, 'utf8')))
    return { 'ca.crt': authority.certificate, 'tls.crt': certificate ?? '', 'tls.key': key ?? '' }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** It lists the pods where the runtimes are. */
function rights(): object[] {
  const api = 'rbac.authorization.k8s.io'
  const subjects = [{ kind: 'ServiceAccount', name: 'adapter', namespace: NAMESPACE }]
  const metadata = { name: NAMESPACE }
  return [
    { apiVersion: `${api}/v1`, kind: 'Role', metadata, rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }] },
    { apiVersion: `${api}/v1`, kind: 'RoleBinding', metadata, subjects, roleRef: { apiGroup: api, kind: 'Role', name: NAMESPACE } },
  ]
}

function service(tls: Certificate): object[] {
  const [group, version] = ['custom.metrics.k8s.io', 'v1beta2']
  const spec = {
    group,
    version,
    groupPriorityMinimum: 100,
    versionPriority: 100,
    caBundle: Buffer.from(tls['ca.crt']).toString('base64'),
    service: { name: 'adapter', namespace: NAMESPACE },
  }
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: METADATA,
      spec: { selector: { app: 'adapter' }, ports: [{ port: 443, targetPort: 8443 }] },
    },
    { apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService', metadata: { name: API }, spec },
  ]
}
