import type { Log } from '../config/log.ts'
import { CREDENTIALS_SECRET, ROUTING_LABEL } from '../config/routing.ts'
import type { Client } from './kubernetes/client.ts'
import { CONFIG_MAPS, type ConfigMap, SECRETS, type Secret, SHARDS, TENANTS } from './kubernetes/object.ts'
import { type Store, watch } from './kubernetes/watch.ts'
import type { Shard } from './shard/observe.ts'
import { shardOf, type Tenant } from './tenant/home.ts'
import { KEY_LABEL, keyOwner } from './tenant/keys.ts'

/**
 * What stands in the namespace, by the names that watches have in metrics; `secrets` are those of API keys, by the UID of their Tenant; `tenants`
 * are found by their Shard, and `configmaps` are the routing documents.
 */
export type Stores = {
  shards: Store<Shard>
  tenants: Store<Tenant>
  secrets: Store<Secret>
  logins: Store<Secret>
  configmaps: Store<ConfigMap>
}

/** Told the name of what was added, changed or deleted. */
export type Changes = Record<keyof Stores, (name: string) => void>

/** `relistMs`: how often everything is listed anew. */
export type StoresOptions = { client: Client; namespace: string; relistMs: number; signal: AbortSignal; log: Log }

/** Watches all that passes go by. Nobody is told of anything while `changes` gives nothing. */
export function openStores({ client, namespace, ...watched }: StoresOptions, changes: () => Changes | undefined): Stores {
  const to = (kind: keyof Stores) => ({ ...watched, onChange: (name: string) => changes()?.[kind](name) })
  return {
    shards: watch<Shard>(client, SHARDS, namespace, to('shards')),
    tenants: watch<Tenant>(client, TENANTS, namespace, { ...to('tenants'), indexBy: shardOf }),
    secrets: watch(client, SECRETS, namespace, { ...to('secrets'), labelSelector: KEY_LABEL, indexBy: keyOwner }),
    logins: watch(client, SECRETS, namespace, { ...to('logins'), fieldSelector: `metadata.name=${CREDENTIALS_SECRET}` }),
    configmaps: watch(client, CONFIG_MAPS, namespace, { ...to('configmaps'), labelSelector: ROUTING_LABEL }),
  }
}
