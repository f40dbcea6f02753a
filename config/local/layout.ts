import { join, resolve } from 'node:path'

/** The parts of the platform, in the order in which they are started; they are stopped in the reverse one. Parts of one row do not need each other. */
export const ROWS = [
  ['etcd', 'shard-a', 'shard-b', 'redis', 'nats'],
  ['kube-apiserver'],
  ['kube-controller-manager'],
  ['operator'],
  ['runtime-a', 'runtime-b'],
] as const

/** One part of the platform. */
export type Part = (typeof ROWS)[number][number]

/** A part that is a Postgres server and a Shard of that name. */
export type ShardName = 'shard-a' | 'shard-b'

export const SHARD_NAMES: readonly ShardName[] = ['shard-a', 'shard-b']

/** A part that is a replica of the runtime. */
export type ReplicaName = 'runtime-a' | 'runtime-b'

/** The namespace of the platform; rbac.yaml names it too. */
export const NAMESPACE = 'tenantry'

/** Where everything stands. */
export type Layout = {
  /** The clone. */
  repository: string
  /** All that the platform keeps; what it is made of is listed in `owned`. */
  folder: string
  kubeconfig: string
  environment: string
  kubectl: string
  lock: string
  folderOf(part: Part): string
  logOf(part: string): string
}

const CONTROL_PLANE: readonly Part[] = ['etcd', 'kube-apiserver', 'kube-controller-manager']

/** The layout of the platform in `folder`; default: TENANTRY_FOLDER, else `.tenantry` in the clone. */
export function layoutOf(folder = process.env.TENANTRY_FOLDER ?? ''): Layout {
  const repository = resolve(import.meta.dirname, '..', '..')
  const root = resolve(repository, folder === '' ? '.tenantry' : folder)
  return {
    repository,
    folder: root,
    kubeconfig: join(root, 'kubeconfig'),
    environment: join(root, 'env'),
    kubectl: join(root, 'bin', 'kubectl'),
    lock: join(root, 'lock'),
    folderOf: (part) => join(root, CONTROL_PLANE.includes(part) ? 'control-plane' : part),
    logOf: (part) => join(root, 'logs', `${part}.log`),
  }
}

/** What the platform has made in its folder, and nothing that another has put there. */
export function owned(layout: Layout): string[] {
  const folders = new Set(ROWS.flat().map((part) => layout.folderOf(part)))
  return [...folders, layout.kubeconfig, layout.environment, ...['bin', 'logs', 'cache', 'tokens'].map((name) => join(layout.folder, name))]
}

/** The port that the user set for a part, as TENANTRY_PORT_SHARD_A and the like. Throws when it is no port. */
export function wantedPort(part: string): number | undefined {
  const name = `TENANTRY_PORT_${part.toUpperCase().replaceAll('-', '_')}`
  const text = process.env[name]
  if (text === undefined || text === '') return undefined
  const port = Number(text)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error(`${name} is "${text}": give a port from 1 to 65535`)
  return port
}
