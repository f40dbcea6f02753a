import { expect, test } from 'vitest'
import { shardNames } from '../postgres/names.ts'
import { planRotation, type RotationStep } from './rotation.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const names = shardNames('tenantry')
const database = {
  owned: true,
  mark: 'mine',
  openToPublic: false,
  roles: [],
  foreignRoles: [],
  granted: true,
  version: 1,
  used: 0,
  rowsVersion: 1,
  rowsSecure: true,
  neighboursVersion: 1,
  templateMark: undefined,
  templateForeign: false,
}

type Found = { age?: number; canLogin?: boolean; connections?: number; works?: boolean; username?: string }

function plan({ age, canLogin = false, connections = 0, works = true, username = names.login }: Found, rotateAfter?: string) {
  const issuedAt = age === undefined ? {} : { issuedAt: new Date(NOW - age).toISOString() }
  const credentials = { username, password: 'secret', ...issuedAt }
  return planRotation(
    { database: { ...database, spare: { canLogin, connections } }, credentials, loginWorks: works, names },
    rotateAfter,
    NOW,
  )
}

const cases: [what: string, found: Found, rotateAfter: string | undefined, steps: RotationStep[], nextMs: number | undefined][] = [
  ['nothing when nothing is asked for', { age: HOUR }, undefined, [], undefined],
  ['nothing before its time, and looks then', { age: 8 * MINUTE }, '10m', [], 2 * MINUTE],
  ['a wait that is no longer than a resync', { age: 0 }, '999999h', [], 10 * MINUTE],
  ['a new login at its time, and looks after the old one', { age: 90 * MINUTE }, '1h30m', ['rotate'], MINUTE],
  ['a new login when the age of the old one is not known', {}, '720h', ['rotate'], MINUTE],
  ['nothing with a login that does not work, which is mended first', { age: 2 * HOUR, works: false }, '1h', [], MINUTE],
  ['nothing with a login of another name', { age: 2 * HOUR, username: 'other' }, '1h', [], MINUTE],
  ['nothing to the old login within a minute', { age: 20_000, canLogin: true }, '720h', [], 40_000],
  ['nothing to the old login while it is in use', { age: 2 * MINUTE, canLogin: true, connections: 1 }, '720h', [], 10_000],
  ['revokes the old login when nobody uses it', { age: MINUTE, canLogin: true }, '720h', ['revoke'], 10 * MINUTE],
  ['revokes it also when no more rotations are asked for', { age: MINUTE, canLogin: true }, undefined, ['revoke'], undefined],
  [
    'ends what is left of it after an hour',
    { age: HOUR, canLogin: true, connections: 2 },
    undefined,
    ['revoke', 'end-connections'],
    undefined,
  ],
  ['ends it also after a crash between the two', { age: HOUR, connections: 2 }, undefined, ['end-connections'], undefined],
  ['no third login beside two in use', { age: 3 * MINUTE, canLogin: true, connections: 1 }, '1m', [], 10_000],
  ['one after the other when both are due', { age: MINUTE, canLogin: true }, '1m', ['revoke', 'rotate'], MINUTE],
]

test.each(cases)('OP-21: plans %s', (_, found, rotateAfter, steps, nextMs) => {
  expect(plan(found, rotateAfter)).toEqual({ steps, nextMs })
})

test('OP-21: the two logins take turns', () => {
  expect(shardNames('x', 'x_runtime_a')).toMatchObject({ login: 'x_runtime_a', spare: 'x_runtime_b' })
  expect(shardNames('x', 'x_runtime_b')).toMatchObject({ login: 'x_runtime_b', spare: 'x_runtime_a' })
  expect(shardNames('x', 'y_runtime_b')).toMatchObject({ login: 'x_runtime_a', spare: 'x_runtime_b' })
})
