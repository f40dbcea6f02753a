import { CompactSign, type CryptoKey, exportJWK, generateKeyPair, type JWK } from 'jose'
import type { Issuer } from '../../config/routing.ts'

type Algorithm = Issuer['algorithms'][number]

/** A tenant's identity provider, with one key. */
export type Provider = {
  issuer: Issuer
  jwks: { keys: JWK[] }
  privateKey: CryptoKey
  /** Claims of a token that is accepted, for another minute. */
  claims: (tenantId: string, changes?: object) => object
  /** Signs claims, or any text, under the provider's key or another. */
  sign: (claims: object | string, header?: object, key?: CryptoKey | Uint8Array) => Promise<string>
}

/** Makes a provider with a key of its own, which stands inline in `issuer`; what else the issuer pins is set in `changes`. */
export async function createProvider(name: string, algorithm: Algorithm = 'ES256', changes: Partial<Issuer> = {}): Promise<Provider> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const kid = `${name}-1`
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid, use: 'sig' as const }] }
  const issuer = {
    issuer: `https://id.${name}.example/`,
    audiences: [`${name}-tasks`],
    algorithms: [algorithm],
    jwks,
    ...changes,
  } as Issuer
  return {
    issuer,
    jwks,
    privateKey,
    claims: (tenantId, changes = {}) => ({
      iss: issuer.issuer,
      aud: issuer.audiences[0],
      sub: 'alice',
      tenant_id: tenantId,
      scope: 'tasks:read tasks:write',
      exp: Math.floor(Date.now() / 1_000) + 60,
      ...changes,
    }),
    sign: (claims, header = {}, key = privateKey) =>
      new CompactSign(Buffer.from(typeof claims === 'string' ? claims : JSON.stringify(claims)))
        .setProtectedHeader({ alg: algorithm, typ: 'JWT', kid, ...header })
        .sign(key),
  }
}
