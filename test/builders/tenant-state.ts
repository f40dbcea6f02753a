import { createHash } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'
import { CREDENTIALS_SECRET, KEY_PREFIX_LENGTH } from '../../config/routing.ts'
import type { Client } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS, EVENTS, SECRETS, TENANTS } from '../../operator/kubernetes/object.ts'
import { tenantName } from '../../operator/postgres/names.ts'
import { loginIn } from '../../operator/routing/credentials.ts'
import { dumpCatalog } from './catalog-dump.ts'
import { BUCKETS, routeAmong } from './published.ts'

/** Who is looked at, and where: the database is the Shard's. */
export type Subject = { client: Client; namespace: string; database: string; uid: string; name: string }

/** All there is of a tenant: object, Secrets, route, login and catalog, without names and times: two tenants of one kind differ in nothing. */
export async function stateOf(subject: Subject): Promise<unknown> {
  const parts = { tenant: await objectOf(subject), ...(await accessOf(subject)), catalog: await dumpCatalog(subject.database, subject) }
  return JSON.parse(nameless(JSON.stringify(parts), subject))
}

/** What was told of a tenant: type, reason and message of each Event, as JSON, in the order of the text. */
export async function eventsOf(subject: Subject): Promise<string[]> {
  const { items } = await subject.client.list(EVENTS, subject.namespace, { fieldSelector: `involvedObject.uid=${subject.uid}` })
  return items.map(({ type, reason, message }) => nameless(JSON.stringify({ type, reason, message }), subject)).sort()
}

function nameless(text: string, { uid, name }: Subject): string {
  return text
    .replaceAll(tenantName(uid), '<own>')
    .replaceAll(uid, '<uid>')
    .replaceAll(name, '<name>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
}

async function objectOf({ client, namespace, name, uid }: Subject): Promise<unknown> {
  const tenant = await client.get(TENANTS, namespace, name)
  if (tenant?.metadata.uid !== uid) return 'gone'
  const { spec, status, metadata } = tenant
  return { spec, status, finalizers: metadata.finalizers, annotations: metadata.annotations }
}

/** The keys' Secrets, the route with the Secret of each hash and prefix, and what the server says to the login. */
async function accessOf({ client, namespace, uid }: Subject): Promise<Record<string, unknown>> {
  const { items } = await client.list(SECRETS, namespace, { labelSelector: `tenantry.dev/tenant-uid=${uid}` })
  const secrets = new Map(
    items.flatMap(({ metadata, data }) => {
      const token = Buffer.from(data?.token ?? '', 'base64').toString()
      return [createHash('sha256').update(token).digest('hex'), token.slice(0, KEY_PREFIX_LENGTH)].map((known) => [known, metadata.name])
    }),
  )
  const route = routeAmong((await client.list(CONFIG_MAPS, namespace, { labelSelector: BUCKETS })).items, uid)?.route
  const login = loginIn(await client.get(SECRETS, namespace, CREDENTIALS_SECRET), tenantName(uid))
  return {
    secrets: items.map(({ metadata: { name, labels, ownerReferences } }) => ({ name, labels, ownerReferences })),
    routes: JSON.parse(JSON.stringify(route === undefined ? [] : [route]), (key, value) =>
      key === 'sha256' || key === 'prefix' ? (secrets.get(value) ?? 'of no Secret') : value,
    ),
    login: login === undefined ? 'none' : await knock(tenantName(uid), login),
  }
}

async function knock(database: string, { username: user, password }: { username: string; password: string }): Promise<string> {
  const { host, port } = inject('postgres')
  const client = new pg.Client({ host, port, database, user, password })
  client.on('error', () => {})
  return client
    .connect()
    .then(() => 'let in', String)
    .finally(() => client.end())
}
