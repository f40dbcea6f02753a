import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { openAuthority } from '../../config/local/certificates.ts'
import { type PostgresServer, removePostgres, startPostgres } from '../../config/local/servers/postgres.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { applyAll, secret, shardManifest } from '../builders/shard.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
let folder: string
let server: PostgresServer
let namespace: string
let operator: RunningOperator
let refusals = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-tls-'))
  await installCrds()
  namespace = await createNamespace()
  server = await startPostgres({ folder, durable: false })
  operator = await startOperator(namespace)
  const { adminUser: username, adminPassword: password, ca } = server
  const other = inject('postgres').ca
  await applyAll(namespace, [
    secret('admin', { username, password }),
    secret('ca', { 'ca.crt': ca }),
    secret('other-ca', { 'ca.crt': other }),
  ])
})

afterAll(async () => {
  await operator?.stop()
  await server?.stop()
  await removePostgres(folder)
  await rm(folder, { recursive: true, force: true })
})

const spec = (host: string, authority = 'ca') => ({
  endpoint: { host, port: server.port, database: 'guarded' },
  adminSecretRef: { name: 'admin' },
  tls: { mode: 'verify-full', caSecretRef: { name: authority } },
})

async function readyOf(name: string): Promise<{ status?: string; reason?: string; message?: string }> {
  const { status } = JSON.parse(await kubectl(['get', 'shard', name, '-n', namespace, '-o', 'json']))
  return status?.conditions?.find(({ type }: { type: string }) => type === 'Ready') ?? {}
}

async function refused(name: string, manifest: object, reason: string, message: RegExp): Promise<void> {
  await applyAll(namespace, [shardManifest(name, manifest)])
  await vi.waitFor(async () => expect(await readyOf(name)).toMatchObject({ status: 'False', reason }), PATIENCE)
  expect((await readyOf(name)).message).toMatch(message)
  refusals += 1
}

/** Gives the running server a certificate of its own authority whose time is over. */
async function expire(): Promise<void> {
  const authority = await openAuthority(join(folder, 'tls'), 'unused')
  const files = await authority.issue('expired', { name: '127.0.0.1', hosts: ['127.0.0.1'], days: -1 })
  const superuser = new pg.Client({ connectionString: server.superuserUrl })
  await superuser.connect()
  const { rows } = await superuser.query(`SELECT current_setting('ssl_cert_file') AS certificate, current_setting('ssl_key_file') AS key`)
  await writeFile(rows[0].certificate, await readFile(files.certificateFile))
  await writeFile(rows[0].key, await readFile(files.keyFile))
  await superuser.query('SELECT pg_reload_conf()')
  await superuser.end()
}

test('PG-16: a certificate of another authority is refused', () =>
  refused('wrong-ca', spec('127.0.0.1', 'other-ca'), 'CertificateInvalid', /correct spec.tls.caSecretRef/))

test('PG-16: a certificate for another host is refused', () =>
  // The same address by a name that the certificate does not have.
  refused('wrong-host', spec('127.1'), 'CertificateInvalid', /host name in spec.endpoint.host/))

test('PG-16: a certificate that has expired is refused', async () => {
  await applyAll(namespace, [shardManifest('expired', spec('127.0.0.1'))])
  await vi.waitFor(async () => expect(await readyOf('expired')).toMatchObject({ status: 'True' }), PATIENCE)
  await expire()
  await kubectl(['label', 'shard', 'expired', '-n', namespace, 'touched=1'])
  await refused('expired', spec('127.0.0.1'), 'CertificateInvalid', /has expired .*: renew it/)
})

test('PG-16: a server without TLS is refused', async () => {
  await server.stop()
  server = await startPostgres({ folder, durable: false, requireTls: false, tls: false })
  await refused('plain', spec('127.0.0.1'), 'TlsNotOffered', /turn ssl on in the server/)
  printFigure(`PG-16: refused ${refusals} / 4`)
})
