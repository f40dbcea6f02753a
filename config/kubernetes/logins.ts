import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAuthority } from '../local/certificates.ts'
import type { Kubectl } from '../local/kubectl.ts'
import { NAMESPACE } from '../local/layout.ts'

const SECRET = 'postgres'

/** What the Postgres servers of overlays/kind are opened with. `ca` is PEM. */
export type Logins = { adminUser: string; adminPassword: string; ca: string }

/** The host name of one of them, by its number, as pods know it and its certificate says it. */
export function hostOf(number: number): string {
  return `postgres-${number}.postgres.${NAMESPACE}.svc`
}

/** Reads the Secret that the servers are set up from, and makes it where there is none: its passwords are as old as the data. */
export async function openLogins(kubectl: Kubectl): Promise<Logins> {
  const found = await kubectl(['get', 'secret', SECRET, '--ignore-not-found', '--output=json'])
  if (found === '') await kubectl(['create', '-f', '-'], JSON.stringify(await makeSecret()))
  const { data }: { data: Record<string, string> } = JSON.parse(await kubectl(['get', 'secret', SECRET, '--output=json']))
  const text = (key: string) => Buffer.from(data[key] ?? '', 'base64').toString()
  return { adminUser: 'tenantry_admin', adminPassword: text('adminPassword'), ca: text('ca.crt') }
}

async function makeSecret(): Promise<object> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-certificates-'))
  try {
    const authority = await openAuthority(folder, 'Tenantry postgres')
    const { certificateFile, keyFile } = await authority.issue('server', { name: SECRET, hosts: [0, 1].map(hostOf) })
    const [certificate, key] = await Promise.all([certificateFile, keyFile].map((file) => readFile(file, 'utf8')))
    const passwords = { superuserPassword: randomBytes(24).toString('hex'), adminPassword: randomBytes(24).toString('hex') }
    const stringData = { ...passwords, 'ca.crt': authority.certificate, 'tls.crt': certificate, 'tls.key': key }
    return { apiVersion: 'v1', kind: 'Secret', metadata: { name: SECRET, namespace: NAMESPACE }, stringData }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
