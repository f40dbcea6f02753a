import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseAllDocuments, stringify } from 'yaml'
import { NAMESPACE, type ShardName } from './layout.ts'
import type { PostgresServer } from './servers/postgres.ts'

/** Where a Postgres is that becomes a Shard, and what opens it. */
type ShardServer = Pick<PostgresServer, 'host' | 'port' | 'adminUser' | 'adminPassword' | 'ca'>

/** The Shards of config/samples with the addresses of these servers, each with the Secrets that it refers to, as YAML. */
export async function shardManifests(repository: string, servers: Readonly<Record<ShardName, ShardServer>>): Promise<string> {
  const shards = parseAllDocuments(await readFile(join(repository, 'config', 'samples', 'shards.yaml'), 'utf8'))
  const documents: object[] = Object.entries(servers).flatMap(([name, server]) => [
    secret(`${name}-admin`, { username: server.adminUser, password: server.adminPassword }),
    secret(`${name}-ca`, { 'ca.crt': server.ca }),
  ])
  for (const shard of shards) {
    const [, server] = Object.entries(servers).find(([name]) => name === shard.getIn(['metadata', 'name'])) ?? []
    if (server === undefined) continue
    shard.setIn(['metadata', 'namespace'], NAMESPACE)
    shard.setIn(['spec', 'endpoint', 'host'], server.host)
    shard.setIn(['spec', 'endpoint', 'port'], server.port)
    documents.push(shard.toJS())
  }
  return documents.map((document) => stringify(document)).join('---\n')
}

function secret(name: string, values: Record<string, string>): object {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: NAMESPACE }, stringData: values }
}
