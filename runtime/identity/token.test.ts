import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readToken } from './token.ts'

const HEADER = '{"alg":"ES256","typ":"JWT","kid":"1"}'
const CLAIMS = '{"tenant_id":"acme","exp":1790000000,"sub":"alice","scope":"tasks:read tasks:write"}'
const part = (text: string) => Buffer.from(text).toString('base64url')
const build = (header = HEADER, claims = CLAIMS) => `${part(header)}.${part(claims)}.${part('signature')}`

test('a token is read as it stands', () => {
  const read = { tenantId: 'acme', expiresAt: 1_790_000_000_000, caller: 'jwt:alice' }
  expect(readToken(build())).toEqual({ ...read, scopes: ['tasks:read', 'tasks:write'] })
  expect(readToken(build(HEADER, '{"tenant_id":"acme","exp":1790000000}'))).toMatchObject({ caller: 'jwt', scopes: [] })
  const scp = (value: unknown) => build(HEADER, CLAIMS.replace('"scope":"tasks:read tasks:write"', `"scp":${JSON.stringify(value)}`))
  expect(readToken(scp(['tasks:read']))?.scopes).toEqual(['tasks:read'])
  expect(readToken(scp('tasks:read users:read'))?.scopes).toEqual(['tasks:read', 'users:read'])
  expect(readToken(scp({ 'tasks:read': true }))?.scopes).toEqual([])
})

test.each([
  ['no type', '{"alg":"ES256"}', CLAIMS],
  ['the type of access tokens', '{"alg":"ES256","typ":"at+jwt"}', CLAIMS],
  ['a type in upper case, in full', '{"alg":"ES256","typ":"application/AT+JWT"}', CLAIMS],
  ['colons and escaped quotes in text', HEADER, CLAIMS.replace('alice', 'a:\\"b\\\\\\": \\"c')],
  ['lists and objects in claims of its own', HEADER, CLAIMS.replace('{', '{"a":{"b":[{"c":1},{"c":1}]},"d":[1,":"],"__proto__":{"a":1},')],
])('a token may have %s', (_, header, claims) => {
  expect(readToken(build(header, claims))).toMatchObject({ tenantId: 'acme' })
})

const odd = (change: string) => CLAIMS.replace('{', `{${change},`)
test.each([
  ['nothing', ''],
  ['two parts', `${part(HEADER)}.${part(CLAIMS)}`],
  ['no signature', `${part(HEADER)}.${part(CLAIMS)}.`],
  ['five parts, encrypted', `${build()}.x.y`],
  ['other characters', `${build()}=`],
  ['more than 8 KiB', build(HEADER, CLAIMS.replace('alice', 'a'.repeat(8_000)))],
  ['a header that is no JSON', build('{')],
  ['a header that is a list', build('[]')],
  ['claims that are text', build(HEADER, '"acme"')],
  ['another type', build('{"alg":"ES256","typ":"logout+jwt"}')],
  ['a type that is no text', build('{"alg":"ES256","typ":1}')],
  ['the address of a key set', build('{"alg":"ES256","jku":"https://evil.example/jwks"}')],
  ['the address of a certificate', build('{"alg":"ES256","x5u":"https://evil.example/cert"}')],
  ['a key of its own', build('{"alg":"ES256","jwk":{"kty":"EC"}}')],
  ['a certificate of its own', build('{"alg":"ES256","x5c":["MII"]}')],
  ['what must be understood', build('{"alg":"ES256","crit":["b64"],"b64":false}')],
  ['compression', build('{"alg":"ES256","zip":"DEF"}')],
  ['a key name that is a list', build('{"alg":"ES256","kid":["1"]}')],
  ['a key name without end', build(`{"alg":"ES256","kid":"${'k'.repeat(257)}"}`)],
  ['the algorithm twice', build('{"alg":"none","alg":"ES256"}')],
  ['the tenant twice', build(HEADER, odd('"tenant_id":"globex"'))],
  ['a claim twice, once escaped', build(HEADER, odd('"\\u0073ub":"mallory"'))],
  ['a claim twice, deep inside', build(HEADER, odd('"a":[{"b":1,"b":2}]'))],
  ['no tenant', build(HEADER, '{"exp":1790000000,"sub":"alice"}')],
  ['a list of tenants', build(HEADER, '{"tenant_id":["acme"],"exp":1790000000,"sub":"alice"}')],
  ['no end', build(HEADER, '{"tenant_id":"acme","sub":"alice"}')],
  ['an end that is text', build(HEADER, '{"tenant_id":"acme","exp":"1790000000","sub":"alice"}')],
  ['an end without end', build(HEADER, '{"tenant_id":"acme","exp":1e999,"sub":"alice"}')],
  ['a subject that is a number', build(HEADER, '{"tenant_id":"acme","exp":1790000000,"sub":7}')],
  ['an empty subject', build(HEADER, '{"tenant_id":"acme","exp":1790000000,"sub":""}')],
  ['a subject with a null byte', build(HEADER, CLAIMS.replace('alice', 'a\\u0000'))],
  ['a subject with half a character', build(HEADER, CLAIMS.replace('alice', 'a\\ud800'))],
])('TI-04: a token with %s is none', (_, token) => {
  expect(readToken(token)).toBeUndefined()
})

test('TI-04: claims of any kind are no reason to refuse a token, as long as each stands once', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 1), (value, indent) => {
      const claims = JSON.stringify({ ...JSON.parse(CLAIMS), own: value }, null, indent)
      fc.pre(claims.length < 5_000)
      expect(readToken(build(HEADER, claims))).toMatchObject({ tenantId: 'acme' })
    }),
  )
})

test('TI-04: nesting without end harms nobody', () => {
  const deep = build(HEADER, odd(`"a":${'['.repeat(2_800)}${']'.repeat(2_800)}`))
  expect(() => readToken(deep)).not.toThrow()
})
