import { rename, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import type { Layout, ShardName } from './layout.ts'
import type { PostgresServer } from './servers/postgres.ts'

const PLAIN = /^[\w@%+=:,./-]*$/

/** The addresses that stand in the environment file. */
export type Addresses = {
  runtime: { url: string; metricsUrl: string }
  runtimeB: { url: string }
  operator: { metricsUrl: string }
  shards: Readonly<Record<ShardName, PostgresServer>>
  redisUrl: string
  natsUrl: string
}

/** Writes the file that people source: one `export NAME=value` a line, readable by its owner only. */
export async function writeEnvironment(layout: Layout, addresses: Addresses): Promise<void> {
  const values = {
    KUBECONFIG: layout.kubeconfig,
    TENANTRY_URL: addresses.runtime.url,
    TENANTRY_URL_B: addresses.runtimeB.url,
    TENANTRY_METRICS_URL: addresses.runtime.metricsUrl,
    TENANTRY_OPERATOR_URL: addresses.operator.metricsUrl,
    SHARD_A_URL: tenantsUrl(addresses.shards['shard-a']),
    SHARD_B_URL: tenantsUrl(addresses.shards['shard-b']),
    REDIS_URL: addresses.redisUrl,
    NATS_URL: addresses.natsUrl,
    PATH: pathWith(layout),
  }
  const text = Object.entries(values).map(([name, value]) => `export ${name}=${quote(value)}\n`)
  await writeFile(`${layout.environment}.new`, text.join(''), { mode: 0o600 })
  await rename(`${layout.environment}.new`, layout.environment)
}

/** The admin's way into the database that the tenants are in. */
function tenantsUrl(server: PostgresServer): string {
  const url = new URL(server.adminUrl)
  url.pathname = '/tenantry'
  return url.href
}

/** PATH as this process has it with kubectl in front; what make and npm put there for themselves is left out. */
function pathWith(layout: Layout): string {
  const own = [dirname(layout.kubectl), join(layout.repository, 'node_modules', '.bin')]
  const rest = (process.env.PATH ?? '').split(delimiter).filter((folder) => !own.includes(folder))
  return [dirname(layout.kubectl), ...rest].join(delimiter)
}

function quote(value: string): string {
  return PLAIN.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`
}
