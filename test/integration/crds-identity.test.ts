import { beforeAll, expect, test } from 'vitest'
import { createNamespace, judge } from '../builders/cluster.ts'
import { installCrds } from '../builders/operator.ts'
import { tenantManifest } from '../builders/tenant.ts'

let namespace: string

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
})

const tenant = (spec: object) => tenantManifest('acme', spec)
const apiKey = (changes: object) => tenant({ apiKeys: [{ name: 'web', ...changes }] })
const PROVIDER = { issuer: 'https://id.example', audiences: ['tasks'] }
const jwt = (changes: object) => tenant({ jwt: { ...PROVIDER, jwksUri: 'https://id.example/jwks', ...changes } })
const inline = (keys: object[]) => tenant({ jwt: { ...PROVIDER, jwks: { keys } } })
const EC_KEY = { kty: 'EC', crv: 'P-256', x: 'eA', y: 'eQ' }

const cases: [rule: string, accepted: object, rejected: object, complaint: RegExp][] = [
  ['scopes', apiKey({ scopes: ['tasks:read', 'tenant:admin'] }), apiKey({ scopes: ['tasks:*'] }), /supported values: "tasks:read"/],
  ['scopes, none', apiKey({}), apiKey({ scopes: [] }), /at least 1 items/],
  ['scopes once', apiKey({ scopes: ['tasks:read'] }), apiKey({ scopes: ['tasks:read', 'tasks:read'] }), /Duplicate value/],
  [
    'expiresAt',
    apiKey({ expiresAt: '2027-01-01T00:00:00Z' }),
    apiKey({ expiresAt: '1999-01-01T00:00:00Z' }),
    /from the year 2000 on, such as/,
  ],
  ['expiresAt, format', apiKey({ expiresAt: '2027-01-01T00:00:00.5Z' }), apiKey({ expiresAt: '2027-01-01T00:00:00,5Z' }), /expiresAt/],
  ['jwt keys, one way', jwt({}), jwt({ jwks: { keys: [EC_KEY] } }), /either jwksUri or jwks/],
  ['jwt keys, some', inline([EC_KEY]), tenant({ jwt: { issuer: 'i', audiences: ['a'] } }), /either jwksUri or jwks/],
  ['jwt audiences', jwt({}), jwt({ audiences: [] }), /at least 1 items/],
  ['jwt algorithms', jwt({ algorithms: ['PS256'] }), jwt({ algorithms: ['HS256'] }), /supported values: "RS256"/],
  ['jwt algorithms, not none', jwt({ algorithms: ['EdDSA'] }), jwt({ algorithms: ['none'] }), /supported values: "RS256"/],
  ...[
    'http://id.example/jwks',
    'https://user@id.example/jwks',
    'https://id.example/a b',
    'https://id.example/#x',
    'file:///etc/passwd',
    '//id.example',
  ].map((jwksUri): [string, object, object, RegExp] => [
    `jwksUri, not ${jwksUri}`,
    jwt({ jwksUri: 'https://id.example:8443/.well-known/jwks.json?a=b' }),
    jwt({ jwksUri }),
    /must be an https address without user, fragment and spaces, such as/,
  ]),
  [
    'jwks, RSA',
    inline([{ kty: 'RSA', n: 'x'.repeat(342), e: 'AQAB' }]),
    inline([{ kty: 'RSA', n: 'x'.repeat(341), e: 'AQAB' }]),
    /2048 bits or more/,
  ],
  ['jwks, EC', inline([EC_KEY]), inline([{ kty: 'EC', crv: 'P-256', x: 'a' }]), /of EC crv/],
  ['jwks, curve', inline([{ kty: 'OKP', crv: 'Ed25519', x: 'a' }]), inline([{ kty: 'OKP', crv: 'P-256', x: 'a' }]), /of OKP crv Ed25519/],
  ['jwks, no shared secret', inline([EC_KEY]), inline([{ kty: 'oct', x: 'c2VjcmV0' }]), /supported values: "RSA", "EC", "OKP"/],
  ['jwks, no private key', inline([EC_KEY]), inline([{ ...EC_KEY, d: 'c2VjcmV0' }]), /unknown field "spec.jwt.jwks.keys\[0\].d"/],
  [
    'jwks, several',
    inline([
      { ...EC_KEY, kid: '1' },
      { ...EC_KEY, kid: '2' },
    ]),
    inline([
      { ...EC_KEY, kid: '1' },
      { ...EC_KEY, kid: '1' },
    ]),
    /each needs a kid of its own/,
  ],
  ['jwks, several with a kid', inline([EC_KEY]), inline([EC_KEY, { ...EC_KEY, kid: '1' }]), /each needs a kid of its own/],
]

test.each(cases)(
  'K8-05: %s: accepts what is right, says what to write instead of what is not',
  async (_, accepted, rejected, complaint) => {
    expect(await judge(namespace, accepted)).toBe('accepted')
    expect(await judge(namespace, rejected)).toMatch(complaint)
  },
)
