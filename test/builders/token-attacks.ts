import { createHmac } from 'node:crypto'
import { type CryptoKey, exportSPKI, generateKeyPair, importJWK } from 'jose'
import type { Provider } from './provider.ts'

/** Tokens that an attacker might send to become tenant `acme`, whose provider signs with ES256; each is to be refused. See RFC 8725. */
export async function tokenAttacks(acme: Provider, globex: Provider): Promise<[what: string, token: string][]> {
  const claims = (changes: object = {}) => acme.claims('acme', changes)
  const seconds = (offset: number) => Math.floor(Date.now() / 1_000) + offset
  const without = (name: string) => Object.fromEntries(Object.entries(claims()).filter(([claim]) => claim !== name))
  const own = await generateKeyPair('ES256', { extractable: true })
  const right = await acme.sign(claims())
  const [header = '', payload = ''] = right.split('.')
  const [jwk] = acme.jwks.keys
  const publicPem = await exportSPKI((await importJWK(jwk ?? {}, 'ES256', { extractable: true })) as CryptoKey)
  const tokens: [string, string | Promise<string>][] = [
    ...['none', 'None', 'NONE'].flatMap((alg): [string, string][] => [
      [`alg ${alg} without a signature`, unsigned({ alg, typ: 'JWT' }, claims())],
      [`alg ${alg} with a signature`, `${unsigned({ alg, typ: 'JWT' }, claims())}${right.split('.')[2]}`],
    ]),
    ['an empty alg', unsigned({ alg: '' }, claims())],
    ['HS256 with the public key in PEM', hmac({ alg: 'HS256', kid: jwk?.kid }, claims(), publicPem)],
    ['HS256 with the public key as JWK', hmac({ alg: 'HS256', kid: jwk?.kid }, claims(), JSON.stringify(jwk))],
    ['HS256 with a coordinate of the public key', hmac({ alg: 'HS256' }, claims(), String(jwk?.x))],
    ['HS256 with an empty secret', hmac({ alg: 'HS256' }, claims(), '')],
    ['HS256 under the name ES256', hmac({ alg: 'ES256', kid: jwk?.kid }, claims(), publicPem)],
    ['no signature', `${header}.${payload}.`],
    ['a signature of zeros', `${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`],
    ['the signature of other claims', `${header}.${part(claims({ sub: 'mallory' }))}.${right.split('.')[2]}`],
    ["another tenant's provider, whole", globex.sign(globex.claims('acme'))],
    ["another tenant's key under the right names", globex.sign(claims(), { kid: jwk?.kid })],
    ["another tenant's key, issuer and audience of ours", globex.sign(claims())],
    ['a key that nobody knows', acme.sign(claims(), {}, own.privateKey)],
    ['another issuer', acme.sign(claims({ iss: 'https://id.evil.example/' }))],
    ['an issuer that begins alike', acme.sign(claims({ iss: `${acme.issuer.issuer}x` }))],
    ['a list of issuers', acme.sign(claims({ iss: [acme.issuer.issuer] }))],
    ['no issuer', acme.sign(without('iss'))],
    ['another audience', acme.sign(claims({ aud: 'globex-tasks' }))],
    ['other audiences', acme.sign(claims({ aud: ['a', 'b'] }))],
    ['no audience', acme.sign(without('aud'))],
    ['a type that is no token for us', acme.sign(claims(), { typ: 'logout+jwt' })],
    ['a type of proofs', acme.sign(claims(), { typ: 'dpop+jwt' })],
    ['an end that is past', acme.sign(claims({ exp: seconds(-60) }))],
    ['an end that is just past', acme.sign(claims({ exp: seconds(-1) }))],
    ['no end', acme.sign(without('exp'))],
    ['an end that is text', acme.sign(claims({ exp: String(seconds(60)) }))],
    ['a beginning that is to come', acme.sign(claims({ nbf: seconds(60) }))],
    ['a subject that is no text', acme.sign(claims({ sub: ['alice'] }))],
    ['no tenant', acme.sign(without('tenant_id'))],
    ['a tenant nobody knows', acme.sign(claims({ tenant_id: 'initech' }))],
    ['a list of tenants', acme.sign(claims({ tenant_id: ['acme'] }))],
    ['a prototype for a tenant', acme.sign(claims({ tenant_id: '__proto__' }))],
    ['a key name nobody knows', acme.sign(claims(), { kid: 'other' })],
    ['a key name that is a path', acme.sign(claims(), { kid: '../../../../dev/null' })],
    ['a key name that is an address', acme.sign(claims(), { kid: 'https://evil.example/jwks#1' })],
    ['a key name that is SQL', acme.sign(claims(), { kid: "' UNION SELECT 'key" })],
    ['the address of its own key set', acme.sign(claims(), { jku: 'https://evil.example/jwks' }, own.privateKey)],
    ['the address of its own certificate', acme.sign(claims(), { x5u: 'https://evil.example/cert' }, own.privateKey)],
    ['the address of a key set beside the right key', acme.sign(claims(), { jku: 'https://evil.example/jwks' })],
    ['its own certificate', acme.sign(claims(), { x5c: ['MIIB'] })],
    ['its own key', acme.sign(claims(), { jwk: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' } }, own.privateKey)],
    ['more than 8 KiB', acme.sign(claims({ more: 'x'.repeat(8_192) }))],
    ['the tenant twice', acme.sign(JSON.stringify(claims()).replace('{', '{"tenant_id":"globex",'))],
    ['the subject twice, once escaped', acme.sign(JSON.stringify(claims()).replace('{', '{"\\u0073ub":"mallory",'))],
    ['a claim twice, deep inside', acme.sign(JSON.stringify(claims()).replace('{', '{"a":[{"b":1,"b":2}],'))],
    ['claims that are no object', acme.sign('"acme"')],
    ['claims that are no JSON', acme.sign('acme')],
    ['five parts', `${right}.x.y`],
    ['two tokens', `${right}.${right}`],
    ['nothing but dots', '..'],
  ]
  return Promise.all(tokens.map(async ([what, token]): Promise<[string, string]> => [what, await token]))
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function unsigned(header: object, claims: object): string {
  return `${part(header)}.${part(claims)}.`
}

function hmac(header: object, claims: object, secret: string): string {
  const signed = unsigned(header, claims).slice(0, -1)
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
