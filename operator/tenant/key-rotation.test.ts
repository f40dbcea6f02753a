import { expect, test } from 'vitest'
import { dueStep, KEY_OVERLAP_MS, nextDue } from './key-rotation.ts'
import { type ApiKey, routeKeys } from './keys.ts'

const NOW = Date.parse('2026-06-01T00:00:00Z')
const MINUTE = 60_000
const at = (ms: number) => new Date(NOW + ms).toISOString()
const key = (changes: Partial<ApiKey> = {}): ApiKey => ({
  name: 'main',
  secret: 'acme-apikey-main',
  uid: 'u',
  resourceVersion: '1',
  sha256: 'new',
  prefix: 'tnt_abcdefgh',
  issuedAt: NOW - 10 * MINUTE,
  previous: undefined,
  ...changes,
})
const previous = (ms: number) => ({ previous: { sha256: 'old', until: NOW + ms } })

const cases: [what: string, rotateAt: string | undefined, key: ApiKey, step: string | undefined, next: number | undefined][] = [
  ['nothing without a time', undefined, key(), undefined, undefined],
  ['nothing before the time', at(5 * MINUTE), key(), undefined, 5 * MINUTE],
  ['a wait that is no longer than a resync', at(90 * MINUTE), key(), undefined, 10 * MINUTE],
  ['a new token at the time', at(0), key(), 'rotate', 10 * MINUTE],
  ['nothing when the token is younger than the time', at(-20 * MINUTE), key(), undefined, undefined],
  ['nothing while the one before is valid', at(-20 * MINUTE), key(previous(MINUTE)), undefined, MINUTE],
  ['forgets the one before when its hour is over', at(-20 * MINUTE), key(previous(0)), 'forget', undefined],
  ['forgets it also when the time was taken out of spec', undefined, key(previous(-1)), 'forget', undefined],
]

test.each(cases)('TI-05: plans %s', (_, rotateAt, found, step, next) => {
  const wanted = { name: 'main', ...(rotateAt === undefined ? {} : { rotateAt }) }
  expect(dueStep(wanted, found, NOW)).toBe(step)
  expect(nextDue([wanted], [found], NOW)).toBe(next)
})

test('TI-05: a key has its prefix, its rights and its end in the route, and so does the one before; what is not wanted has no entry', () => {
  const wanted = { name: 'main', scopes: ['tasks:read' as const], expiresAt: '2027-01-01T01:00:00+01:00' }
  const rights = { scopes: ['tasks:read'], expiresAt: '2027-01-01T00:00:00.000Z' }
  expect(routeKeys([wanted], [key(previous(MINUTE)), key({ name: 'other' })], NOW)).toEqual([
    { name: 'main', sha256: 'new', prefix: 'tnt_abcdefgh', ...rights },
    { name: 'main', sha256: 'old', ...rights },
  ])
  expect(routeKeys([wanted], [], NOW)).toEqual([])
})

test('TI-05: a token that was replaced is in the route for its hour, and not a moment longer', () => {
  const rotated = key({ previous: { sha256: 'old', until: NOW + KEY_OVERLAP_MS } })
  const hashes = (now: number) => routeKeys([{ name: 'main', scopes: ['tasks:read'] }], [rotated], now).map(({ sha256 }) => sha256)
  expect(hashes(NOW)).toEqual(['new', 'old'])
  expect(hashes(NOW + KEY_OVERLAP_MS - 1)).toEqual(['new', 'old'])
  expect(hashes(NOW + KEY_OVERLAP_MS)).toEqual(['new'])
})
