import { generateKeyPairSync } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { Agent, get } from 'node:https'
import { join } from 'node:path'
import { type ControlPlaneBinaries, findControlPlane } from '../binaries.ts'
import type { Attention } from '../build.ts'
import { type Authority, type CertificateFiles, openAuthority } from '../certificates.ts'
import { kubeconfigWithCertificate } from '../kubeconfig.ts'
import { ensureRunning, type Server } from '../processes.ts'
import { listens } from './probe.ts'
import { HOST, logOf, portOf, type ServerOptions } from './server.ts'

/** Kubernetes' API: `port` is the API server's. */
export type ControlPlaneOptions = Omit<ServerOptions, 'name' | 'logFile'> & {
  etcdPort?: number | undefined
  controllerManagerPort?: number | undefined
  /** Default: `<name>.log` in the folder. */
  logFileOf?: (name: string) => string
  report?: Attention['report']
  /** Each part is started within a call of this, for those who report on it. */
  step?: Step
}

/** Does `start` and may tell how that went. */
export type Step = <S extends Server>(name: string, start: () => Promise<S>) => Promise<S>

/** A running control plane. */
export type ControlPlane = {
  /** `https://127.0.0.1:<port>` */
  server: string
  port: number
  /** The certificate authority in PEM. */
  ca: string
  caFile: string
  /** The file of a cluster administrator's kubeconfig. */
  kubeconfig: string
  kubectl: string
  version: string
  source: string
  etcd: Server
  apiServer: Server
  /** Undefined when the program cannot be had: then nothing is collected by owner reference. */
  controllerManager: Server | undefined
  /** Ends all of it, last started first. */
  stop(): Promise<void>
}

type Parts = {
  options: ControlPlaneOptions
  binaries: ControlPlaneBinaries
  authority: Authority
  serving: CertificateFiles
  admin: CertificateFiles
  /** Signs the tokens of service accounts. */
  tokenKeyFile: string
}

/** Starts etcd, the API server with RBAC and, where it can be had, the controller manager. Throws StartError. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  await mkdir(options.folder, { recursive: true })
  const parts = await prepare(options)
  const etcdPort = await portOf(options, 'etcd', options.etcdPort)
  const step: Step = options.step ?? ((_, start) => start())
  const etcd = await step('etcd', () => startEtcd(parts, etcdPort))
  const port = await portOf(options, 'kube-apiserver')
  const apiServer = await step('kube-apiserver', () => startApiServer(parts, port, etcdPort))
  const { authority, admin, binaries } = parts
  const server = `https://${HOST}:${port}`
  const kubeconfig = join(options.folder, 'kubeconfig')
  await writeFile(kubeconfig, await kubeconfigWithCertificate({ server, ca: authority.certificate, namespace: 'default' }, admin), {
    mode: 0o600,
  })
  const controllerManager = await startControllerManager(parts, kubeconfig, step)
  const { kubectl, version, source } = binaries
  const stop = async () => {
    for (const part of [controllerManager, apiServer, etcd]) await part?.stop()
  }
  return {
    server,
    port,
    ca: authority.certificate,
    caFile: authority.certificateFile,
    kubeconfig,
    kubectl,
    version,
    source,
    etcd,
    apiServer,
    controllerManager,
    stop,
  }
}

async function prepare(options: ControlPlaneOptions): Promise<Parts> {
  const binaries = await findControlPlane(options)
  const authority = await openAuthority(join(options.folder, 'tls'), 'Tenantry control plane')
  const hosts = [HOST, 'localhost', '::1', '10.0.0.1', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc']
  const serving = await authority.issue('serving', { name: 'kube-apiserver', hosts })
  const admin = await authority.issue('admin', { name: 'admin', organization: 'system:masters' })
  const tokenKeyFile = join(options.folder, 'tls', 'service-accounts.key')
  await ensureKey(tokenKeyFile)
  return { options, binaries, authority, serving, admin, tokenKeyFile }
}

function startEtcd({ options, binaries, authority, serving, admin }: Parts, port: number): Promise<Server> {
  const url = `https://${HOST}:${port}`
  return ensureRunning({
    name: 'etcd',
    command: binaries.etcd,
    args: flags({
      'data-dir': join(options.folder, 'etcd'),
      'listen-client-urls': url,
      'advertise-client-urls': url,
      // A single member talks to no peer.
      'listen-peer-urls': `http://${HOST}:0`,
      'cert-file': serving.certificateFile,
      'key-file': serving.keyFile,
      'client-cert-auth': 'true',
      // Its JSON API calls etcd itself, as a client.
      'client-cert-file': admin.certificateFile,
      'client-key-file': admin.keyFile,
      'trusted-ca-file': authority.certificateFile,
      'log-level': 'warn',
      ...(options.durable === false ? { 'unsafe-no-fsync': 'true' } : {}),
    }),
    folder: options.folder,
    logFile: logFile(options, 'etcd'),
    healthy: () => listens(port),
    startMs: 30_000,
    signal: options.signal,
  })
}

function startApiServer(
  { options, binaries, authority, serving, admin, tokenKeyFile }: Parts,
  port: number,
  etcdPort: number,
): Promise<Server> {
  return ensureRunning({
    name: 'kube-apiserver',
    command: binaries.kubeApiserver,
    args: flags({
      'etcd-servers': `https://${HOST}:${etcdPort}`,
      'etcd-cafile': authority.certificateFile,
      'etcd-certfile': admin.certificateFile,
      'etcd-keyfile': admin.keyFile,
      'bind-address': HOST,
      'advertise-address': HOST,
      'secure-port': String(port),
      'tls-cert-file': serving.certificateFile,
      'tls-private-key-file': serving.keyFile,
      'client-ca-file': authority.certificateFile,
      'authorization-mode': 'RBAC',
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': tokenKeyFile,
      'service-account-signing-key-file': tokenKeyFile,
      'service-account-extend-token-expiration': 'false',
      'service-cluster-ip-range': '10.0.0.0/24',
      // From 1.37 on it refuses a loopback address while it reconciles its own endpoints, which nobody here asks for.
      'endpoint-reconciler-type': 'none',
    }),
    folder: options.folder,
    logFile: logFile(options, 'kube-apiserver'),
    healthy: () => answersOk(`https://${HOST}:${port}/readyz`, authority, admin),
    startMs: 90_000,
    signal: options.signal,
  })
}

async function startControllerManager(parts: Parts, kubeconfig: string, step: Step): Promise<Server | undefined> {
  const command = parts.binaries.kubeControllerManager
  return command === undefined ? undefined : step('kube-controller-manager', () => runControllerManager(parts, kubeconfig, command))
}

async function runControllerManager(parts: Parts, kubeconfig: string, command: string): Promise<Server> {
  const { options, authority, serving, admin, tokenKeyFile } = parts
  const port = await portOf(options, 'kube-controller-manager', options.controllerManagerPort)
  return ensureRunning({
    name: 'kube-controller-manager',
    command,
    args: flags({
      kubeconfig,
      'bind-address': HOST,
      'secure-port': String(port),
      'tls-cert-file': serving.certificateFile,
      'tls-private-key-file': serving.keyFile,
      controllers: 'garbage-collector-controller,namespace-controller,serviceaccount-controller',
      'service-account-private-key-file': tokenKeyFile,
      // There is one, and a lease left by a killed one would be waited for.
      'leader-elect': 'false',
    }),
    // The file's path stays when the address in it changes.
    edition: await readFile(kubeconfig, 'utf8'),
    folder: options.folder,
    logFile: logFile(options, 'kube-controller-manager'),
    healthy: () => answersOk(`https://${HOST}:${port}/healthz`, authority, admin),
    startMs: 30_000,
    signal: options.signal,
  })
}

async function answersOk(url: string, authority: Authority, client: CertificateFiles): Promise<boolean> {
  const [cert, key] = await Promise.all([readFile(client.certificateFile), readFile(client.keyFile)])
  const agent = new Agent({ ca: authority.certificate, cert, key })
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  get(url, { agent, timeout: 2_000 }, (response) => {
    response.resume()
    response.once('end', () => (response.statusCode === 200 ? resolve(true) : reject(new Error(`answers ${response.statusCode}`))))
  })
    .once('timeout', () => reject(new Error('no answer within 2 s')))
    .once('error', reject)
  return promise.finally(() => agent.destroy())
}

async function ensureKey(file: string): Promise<void> {
  if ((await readFile(file, 'utf8').catch(() => '')) !== '') return
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await writeFile(file, privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 })
}

function logFile(options: ControlPlaneOptions, name: string): string {
  return options.logFileOf?.(name) ?? logOf(options, name)
}

function flags(settings: Record<string, string>): string[] {
  return Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
}
