import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeWithMe } from '../../config/local/guard.ts'
import { run } from '../../config/local/run.ts'
import { type ControlPlane, startControlPlane } from '../../config/local/servers/control-plane.ts'
import { printFigure } from '../builders/figure.ts'
import { CHART, type Helm, NO_HELM, openHelms } from '../builders/helm.ts'

const NAMESPACE = 'tenants'
const HERE = ['--namespace', NAMESPACE]
const ELSEWHERE = ['--namespace', 'elsewhere']
/** What stays: the kinds, their objects, and the policies that protect these. */
const KINDS = ['crd/shards.tenantry.dev', 'crd/tenants.tenantry.dev']
const POLICIES = ['deletion-protection', 'namespace-in-use'].flatMap((name) =>
  ['validatingadmissionpolicy', 'validatingadmissionpolicybinding'].map((kind) => `${kind}/${name}.tenantry.dev`),
)
const KEPT = [...KINDS, ...POLICIES, 'tenant/acme']
/** What goes. */
const OWN = ['deployment/tenantry-operator', 'deployment/tenantry-runtime', 'hpa/tenantry-runtime', 'serviceaccount/tenantry-operator']
const TENANT = {
  apiVersion: 'tenantry.dev/v1alpha1',
  kind: 'Tenant',
  metadata: { name: 'acme', namespace: NAMESPACE },
  spec: { displayName: 'Acme', deletionProtection: true },
}

type Release = (verb: string, name: string, ...words: string[]) => Promise<string>

let folder: string
let helms: Helm[]
/** A cluster of its own: here nobody but Helm brings the CRDs. */
let cluster: ControlPlane | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-chart-install-'))
  removeWithMe(folder)
  helms = await openHelms(folder)
  if (helms.length > 0) cluster = await startControlPlane({ folder, durable: false })
})

afterAll(async () => {
  await cluster?.stop()
  await rm(folder, { recursive: true, force: true })
})

async function kubectl(args: readonly string[], input = ''): Promise<string> {
  const { kubectl: program = '', kubeconfig = '' } = cluster ?? {}
  return (await run(program, ['--kubeconfig', kubeconfig, '--namespace', NAMESPACE, ...args], { input })).stdout
}

/** The uids of those of the objects that are there, by name. */
async function uids(names: readonly string[]): Promise<Record<string, string>> {
  const columns = 'custom-columns=:.kind,:.metadata.name,:.metadata.uid'
  const text = await kubectl(['get', ...names, '--ignore-not-found', '--no-headers', '-o', columns])
  const rows = text.split('\n').filter((line) => line !== '')
  return Object.fromEntries(rows.map((line) => line.split(/ +/)).map(([kind, name, uid = '']) => [`${kind}/${name}`, uid]))
}

/** Runs Helm on a release in the cluster. */
function helmOn({ helm }: Helm): Release {
  return (verb, name, ...words) => helm(verb, name, ...words, '--kubeconfig', cluster?.kubeconfig ?? '')
}

const TITLE =
  'Helm installs, upgrades, rolls back and uninstalls; CRDs, Tenants and what protects them stay, and the next release takes them over'

test(`K8-12: ${TITLE}`, { timeout: 240_000 }, async () => {
  if (helms.length === 0) printFigure(NO_HELM)
  for (const one of helms) {
    const helm = helmOn(one)
    const kept = await installFirst(helm)
    await upgrade(helm)
    await uninstall(helm, 'platform')
    expect(await uids(KEPT)).toEqual(kept)

    await helm('install', 'platform', CHART, ...HERE)
    expect(Object.keys(await uids(OWN))).toHaveLength(OWN.length)
    await helm('install', 'second', CHART, ...ELSEWHERE, '--create-namespace', '--set', 'cluster=false')
    await helm('uninstall', 'second', ...ELSEWHERE)
    await uninstall(helm, 'platform')
    await expect(helm('install', 'renamed', CHART, ...HERE)).rejects.toThrow(/meta.helm.sh\/release-name/)
    await helm('install', 'renamed', CHART, ...HERE, '--take-ownership')
    expect(await uids(KEPT)).toEqual(kept)
    printFigure(
      `K8-12: ${one.version}: installed four times, upgraded, rolled back and uninstalled: ${KEPT.length} objects of the cluster stayed, a Tenant among them`,
    )
    await removeAll(helm)
  }
})

test('K8-12: what one Helm has installed the next one upgrades and uninstalls', { timeout: 120_000 }, async () => {
  const [older, newer] = helms
  if (older === undefined || newer === undefined) {
    printFigure('K8-12: NOT RUN: there are not two Helms; `make manifests` installs them')
    return
  }
  const kept = await installFirst(helmOn(older))
  await upgrade(helmOn(newer))
  await uninstall(helmOn(newer), 'platform')
  expect(await uids(KEPT)).toEqual(kept)
  printFigure(`K8-12: ${newer.version}: upgraded and uninstalled what ${older.version} had installed`)
})

/** With a Tenant in it; resolves with the uids of what is to stay. */
async function installFirst(helm: Release): Promise<Record<string, string>> {
  await helm('install', 'platform', CHART, ...HERE, '--create-namespace')
  await kubectl(['wait', '--for=condition=Established', '--timeout=30s', ...KINDS])
  await kubectl(['apply', '-f', '-'], JSON.stringify(TENANT))
  const kept = await uids(KEPT)
  expect(Object.keys(kept)).toHaveLength(KEPT.length)
  return kept
}

/** And back. */
async function upgrade(helm: Release): Promise<void> {
  const most = () => kubectl(['get', 'hpa/tenantry-runtime', '-o', 'jsonpath={.spec.maxReplicas}'])
  const before = await most()
  await helm('upgrade', 'platform', CHART, ...HERE, '--set', 'runtime.replicas.max=20')
  expect(await most()).toBe('20')
  await helm('rollback', 'platform', '1', ...HERE)
  expect(await most()).toBe(before)
}

async function uninstall(helm: Release, name: string): Promise<void> {
  await helm('uninstall', name, ...HERE)
  expect(await uids(OWN)).toEqual({})
  await expect(kubectl(['delete', 'tenant/acme', '--dry-run=server'])).rejects.toThrow(/protected from deletion/)
}

/** So that the next Helm finds nothing of this one. */
async function removeAll(helm: Release): Promise<void> {
  await uninstall(helm, 'renamed')
  await kubectl(['patch', 'tenant/acme', '--type=merge', '-p', '{"spec":{"deletionProtection":false}}'])
  await kubectl(['delete', ...KEPT.toReversed()])
}
