import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { kubeconfigWithToken } from '../../config/local/kubeconfig.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'
import { type ApiProxy, type ProxiedCall, startApiProxy } from '../faults/api-proxy.ts'

const PATIENCE = { timeout: 10_000, interval: 200 }
const shard = shardManifest('shard-a', shardSpec(`test_${randomBytes(4).toString('hex')}`))

type Rule = { apiGroups: string[]; resources: string[]; resourceNames?: string[]; verbs: string[] }
type Role = { kind: string; metadata: { name: string }; rules: Rule[] }

let namespace: string
let folder: string | undefined
let roles: Role[]
let proxy: ApiProxy
let operator: RunningOperator

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  const text = await readFile('config/kubernetes/base/rbac.yaml', 'utf8')
  const here = text
    .replaceAll('namespace: tenantry', `namespace: ${namespace}`)
    .replace('resourceNames: [tenantry]', `resourceNames: [${namespace}]`)
  const documents: Role[] = parseAllDocuments(here).map((document) => document.toJS())
  roles = documents.filter(({ kind }) => kind === 'Role')
  await applyAll(
    namespace,
    documents.filter(({ kind }) => kind !== 'Namespace'),
  )
  await applyShardSecrets(namespace)
  folder = await mkdtemp(join(tmpdir(), 'tenantry-rights-'))
  const token = await kubectl(['create', 'token', 'tenantry-operator', '-n', namespace])
  const { server, ca } = inject('kubernetes')
  await writeFile(join(folder, 'kubeconfig'), kubeconfigWithToken({ server, ca, namespace }, token.trim()))
  proxy = await startApiProxy(join(folder, 'kubeconfig'))
  operator = await startOperator(namespace, { KUBECONFIG: proxy.kubeconfig })
})

afterAll(async () => {
  await operator?.stop()
  await proxy?.[Symbol.asyncDispose]()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
})

/** What RBAC is asked for a call: group, resource with subresource, and verb. */
function askedBy({ method, path, watch }: ProxiedCall): string {
  const parts = path.split('/').filter((part) => part !== '')
  const group = parts[0] === 'api' ? '' : parts[1]
  const rest = parts.slice(parts[0] === 'api' ? 2 : 3)
  // A namespace is a resource of its own unless something in it is meant.
  const [resource, name, subresource] = rest[0] === 'namespaces' && rest.length > 2 ? rest.slice(2) : rest
  const reads = watch ? 'watch' : name === undefined ? 'list' : 'get'
  const verb = { GET: reads, POST: 'create', PATCH: 'patch', PUT: 'update', DELETE: 'delete' }[method] ?? method
  return `${verb} ${[group, resource, subresource].filter((word) => word !== undefined && word !== '').join('/')}`
}

function rulesOf(role: string): Rule[] {
  return roles.find(({ metadata }) => metadata.name === role)?.rules ?? []
}

function granted(role: string): string[] {
  return rulesOf(role).flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => `${verb} ${[group, resource].filter((word) => word !== '').join('/')}`)),
    ),
  )
}

const applyToAll = (apiKeys: object[]) =>
  applyAll(
    namespace,
    ISOLATIONS.map((isolation) => tenantManifest(`a-${isolation}`, { isolation, apiKeys })),
  )
const ready = (...names: string[]) =>
  kubectl(['wait', '-n', namespace, '--for=condition=Ready', ...names.map((name) => `tenant/${name}`), '--timeout=60s'])

/** The life of Shards and Tenants as far as it makes calls of another kind. */
async function live(): Promise<void> {
  await applyAll(namespace, [shard])
  const names = ISOLATIONS.map((isolation) => `a-${isolation}`)
  await applyToAll([{ name: 'main' }, { name: 'spare' }])
  await ready(...names)
  await applyToAll([{ name: 'main', scopes: ['tasks:read'] }])
  await ready(...names)
  const suspend = async (suspended: boolean) => {
    await applyAll(namespace, [tenantManifest('a-schema', { isolation: 'schema', suspended, apiKeys: [{ name: 'main' }] })])
    const phase = suspended ? 'Suspended' : 'Ready'
    await kubectl(['wait', '-n', namespace, `--for=jsonpath={.status.phase}=${phase}`, 'tenant/a-schema', '--timeout=60s'])
  }
  await suspend(true)
  await suspend(false)
  await operator.stop()
  operator = await startOperator(namespace, { KUBECONFIG: proxy.kubeconfig })
  // What an operator before it has said, too, is counted in the Event that is there.
  await suspend(true)
  await suspend(false)
  await kubectl(['delete', '-n', namespace, 'tenants', '--all', '--timeout=60s'])
  await kubectl(['delete', '-n', namespace, 'shards', '--all', '--timeout=60s'])
}

// Admission asks for it, where a cluster enforces owner references; no call of its own shows it.
const ASKED_BY_ADMISSION = ['update tenantry.dev/tenants/finalizers', 'update tenantry.dev/shards/finalizers']

test('K8-02, K8-03: the operator lives by its Role: no call is forbidden, and no verb of it is unused', async () => {
  await live()
  const asked = () => new Set(proxy.calls.map(askedBy))
  const unused = () => granted('tenantry-operator').filter((right) => !asked().has(right) && !ASKED_BY_ADMISSION.includes(right))
  await vi.waitFor(() => expect(unused()).toEqual([]), PATIENCE)
  expect(proxy.calls.filter(({ status }) => status === 403).map(askedBy)).toEqual([])
  printFigure(`K8-02: ${proxy.calls.length} calls of the operator, 0 forbidden; ${granted('tenantry-operator').length} rights, 0 unused`)
})

test('K8-02: no rule of a Role has a wildcard, nor lets anybody give rights away', () => {
  const rules = roles.flatMap(({ rules }) => rules)
  expect(rules.length).toBeGreaterThan(5)
  expect(rules.filter((rule) => JSON.stringify(rule).includes('"*"'))).toEqual([])
  expect(
    rules.flatMap(({ verbs }) => verbs).filter((verb) => ['escalate', 'bind', 'impersonate', 'deletecollection'].includes(verb)),
  ).toEqual([])
})

type Attributes = { verb: string; group?: string; resource: string; namespace?: string; name?: string; subresource?: string }

async function mayDo(account: string, resourceAttributes: Attributes): Promise<boolean> {
  const spec = { user: `system:serviceaccount:${namespace}:${account}`, resourceAttributes }
  const review = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec }
  return JSON.parse(await kubectl(['create', '-o', 'json', '-f', '-'], JSON.stringify(review))).status.allowed
}

test.each(['tenantry-operator', 'tenantry-runtime'])(
  'K8-02: the API server refuses %s whatever is none of its business',
  async (account) => {
    const rbac = 'rbac.authorization.k8s.io'
    const forbidden: Attributes[] = [
      { verb: '*', group: '*', resource: '*' },
      { verb: '*', group: '*', resource: '*', namespace },
      { verb: 'list', resource: 'secrets' },
      { verb: 'get', resource: 'secrets', namespace: 'kube-system', name: 'any' },
      { verb: 'list', group: 'tenantry.dev', resource: 'tenants' },
      { verb: 'escalate', group: rbac, resource: 'roles', namespace },
      { verb: 'bind', group: rbac, resource: 'roles', namespace },
      { verb: 'create', group: rbac, resource: 'rolebindings', namespace },
      { verb: 'impersonate', resource: 'serviceaccounts', namespace },
      { verb: 'create', resource: 'serviceaccounts', subresource: 'token', namespace },
      { verb: 'create', resource: 'pods', namespace },
      { verb: 'create', resource: 'pods', subresource: 'exec', namespace },
      { verb: 'delete', resource: 'namespaces', name: namespace },
      { verb: 'delete', group: 'tenantry.dev', resource: 'tenants', namespace },
      ...(account === 'tenantry-runtime'
        ? [
            { verb: 'list', resource: 'secrets', namespace },
            { verb: 'get', resource: 'secrets', namespace, name: 'postgres-admin' },
            { verb: 'list', resource: 'configmaps', namespace },
            { verb: 'get', group: 'tenantry.dev', resource: 'tenants', namespace, name: 'acme' },
          ]
        : []),
    ]
    const verdicts = await Promise.all(forbidden.map(async (attributes) => ({ attributes, allowed: await mayDo(account, attributes) })))
    expect(verdicts.filter(({ allowed }) => allowed)).toEqual([])
    const needed = rulesOf(account).map(({ apiGroups, resources, resourceNames, verbs }) => {
      const [resource = '', subresource] = (resources[0] ?? '').split('/')
      const [name, verb, group] = [resourceNames?.[0], verbs[0] ?? '', apiGroups[0] ?? '']
      return {
        verb,
        group,
        resource,
        namespace,
        ...(subresource === undefined ? {} : { subresource }),
        ...(name === undefined ? {} : { name }),
      }
    })
    expect(await Promise.all(needed.map((attributes) => mayDo(account, attributes)))).toEqual(needed.map(() => true))
    printFigure(`K8-02: ${account}: ${forbidden.length} rights refused, ${needed.length} rules held`)
  },
)
