import type { ShardSpec, ShardStatus } from '../../crds/shard.ts'
import type { TenantSpec, TenantStatus } from '../../crds/tenant.ts'

/** What another object owns: the garbage collector removes the owned one after its owner. */
export type OwnerReference = {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

/** `metav1.ObjectMeta` as the API server sends it for a namespaced object, without `managedFields`, which are dropped on arrival. */
export type ObjectMeta = {
  name: string
  namespace: string
  uid: string
  resourceVersion: string
  creationTimestamp: string
  generation?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  deletionTimestamp?: string
  ownerReferences?: OwnerReference[]
}

/** What every object has. */
export type AnyObject = { apiVersion: string; kind: string; metadata: ObjectMeta }

/** An object with a spec and a status of its own type. */
export type KubeObject<Spec = unknown, Status = unknown> = AnyObject & { spec: Spec; status?: Status }

/** A core v1 ConfigMap. */
export type ConfigMap = AnyObject & { immutable?: boolean; data?: Record<string, string> }

/** A core v1 Secret; the values of `data` are base64. `stringData` is only ever sent. */
export type Secret = AnyObject & { type?: string; data?: Record<string, string>; stringData?: Record<string, string> }

/** A coordination.k8s.io/v1 Lease; the times are RFC 3339 with microseconds. */
export type Lease = AnyObject & { spec?: LeaseSpec }

/** Who holds a Lease and since when. */
export type LeaseSpec = {
  holderIdentity?: string | null
  leaseDurationSeconds?: number
  acquireTime?: string | null
  renewTime?: string | null
  leaseTransitions?: number
}

/** An apps/v1 Deployment, as far as it says how many pods there may be at once. */
export type Deployment = AnyObject & {
  spec: {
    replicas?: number
    minReadySeconds?: number
    strategy?: { type?: string; rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string } }
    template: { spec: { terminationGracePeriodSeconds?: number } }
  }
  status?: { replicas?: number; terminatingReplicas?: number }
}

/** An autoscaling/v2 HorizontalPodAutoscaler, as far as it says how many pods there may be at once. */
export type Autoscaler = AnyObject & {
  spec: {
    scaleTargetRef: { kind: string; name: string }
    maxReplicas: number
    behavior?: { scaleDown?: { selectPolicy?: string; policies?: { type: string; value: number; periodSeconds: number }[] } }
  }
}

/** A core v1 Event. */
export type Event = AnyObject & {
  involvedObject: { apiVersion: string; kind: string; name: string; namespace: string; uid: string; resourceVersion: string }
  type: 'Normal' | 'Warning'
  reason: string
  message: string
  count: number
  firstTimestamp: string
  lastTimestamp: string
  source: { component: string }
  reportingComponent: string
  reportingInstance: string
}

/** A kind of object, and where the API server keeps it; group '' is the core group. `Object` is the type of its objects. */
export type Resource<Object extends AnyObject = AnyObject> = {
  group: string
  version: string
  plural: string
  kind: string
  /** True for what stands in no namespace. */
  cluster?: true
  /** Only carries the type; never set. */
  readonly example?: Object
}

/** What one writes of an object: its name and any of its fields; kind and namespace are filled in. */
export type Manifest<Object extends AnyObject = AnyObject> = Partial<Omit<Object, 'metadata'>> & {
  metadata: Partial<ObjectMeta> & { name: string }
}

export const TENANTS: Resource<KubeObject<TenantSpec, TenantStatus>> = {
  group: 'tenantry.dev',
  version: 'v1alpha1',
  plural: 'tenants',
  kind: 'Tenant',
}
export const SHARDS: Resource<KubeObject<ShardSpec, ShardStatus>> = {
  group: 'tenantry.dev',
  version: 'v1alpha1',
  plural: 'shards',
  kind: 'Shard',
}
export const CONFIG_MAPS: Resource<ConfigMap> = { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' }
export const SECRETS: Resource<Secret> = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret' }
export const EVENTS: Resource<Event> = { group: '', version: 'v1', plural: 'events', kind: 'Event' }
export const DEPLOYMENTS: Resource<Deployment> = { group: 'apps', version: 'v1', plural: 'deployments', kind: 'Deployment' }
export const AUTOSCALERS: Resource<Autoscaler> = {
  group: 'autoscaling',
  version: 'v2',
  plural: 'horizontalpodautoscalers',
  kind: 'HorizontalPodAutoscaler',
}
export const NAMESPACES: Resource = { group: '', version: 'v1', plural: 'namespaces', kind: 'Namespace', cluster: true }
export const LEASES: Resource<Lease> = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', kind: 'Lease' }

/** The `apiVersion` of a resource's objects. */
export function apiVersionOf({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`
}

/** The path of a collection, or of one object and its subresource. */
export function pathOf(resource: Resource, namespace: string, name?: string, subresource?: string): string {
  const root = resource.group === '' ? '/api' : '/apis'
  const within = resource.cluster === true ? [] : ['namespaces', encodeURIComponent(namespace)]
  const parts = [apiVersionOf(resource), ...within, resource.plural]
  if (name !== undefined) parts.push(encodeURIComponent(name))
  if (subresource !== undefined) parts.push(subresource)
  return `${root}/${parts.join('/')}`
}
