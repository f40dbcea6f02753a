import type { PeerCertificate } from 'node:tls'
import { expect, test } from 'vitest'
import { clientConfig, DEFAULT_SESSION } from './endpoint.ts'

const credentials = { username: 'u', password: 'p' }

function checkAt(host: string, altName: string): Error | undefined {
  const config = clientConfig({ endpoint: { host, port: 5432, database: 'd', tls: 'verify-full' }, credentials }, DEFAULT_SESSION)
  if (typeof config.ssl !== 'object' || config.ssl.checkServerIdentity === undefined) throw new Error('the name is not checked')
  const certificate = { subject: { CN: '' }, subjectaltname: altName } as PeerCertificate
  return config.ssl.checkServerIdentity('localhost', certificate)
}

test.each([
  ['10.0.0.9', 'DNS:localhost', false],
  ['10.0.0.9', 'IP Address:10.0.0.9', true],
  ['db.example.com', 'DNS:other.example.com', false],
  ['db.example.com', 'DNS:db.example.com', true],
])('PG-16: verify-full holds the certificate of %s to that name: %s', (host, altName, fits) => {
  expect(checkAt(host, altName) === undefined).toBe(fits)
})
