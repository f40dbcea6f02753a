import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { DEFAULT_SCOPES, KEY_PREFIX_LENGTH } from '../../config/routing.ts'
import { buildDocument, buildRoute } from '../../test/builders/routing.ts'
import { buildTable } from '../routing/table.ts'
import { findKey } from './find-key.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const TOKEN = `tnt_AAAAAAAA${'x'.repeat(35)}`
const OTHER = `tnt_AAAAAAAA${'y'.repeat(35)}`
const OLD = 'a token from before there were prefixes'
const hash = (token: string) => createHash('sha256').update(token).digest('hex')
const prefix = TOKEN.slice(0, KEY_PREFIX_LENGTH)
const ENDING = `tnt_BBBBBBBB${'z'.repeat(35)}`

const route = buildRoute({
  keys: [
    { name: 'web', sha256: hash(TOKEN), prefix, scopes: ['tasks:read'] },
    { name: 'twin', sha256: hash(OTHER), prefix },
    { name: 'old', sha256: hash(OLD) },
    { name: 'ending', sha256: hash(ENDING), prefix: ENDING.slice(0, KEY_PREFIX_LENGTH), expiresAt: '2026-01-01T00:00:00.000Z' },
  ],
})
const { byKey } = buildTable([buildDocument([route])], new Map(), new Map())
const find = (token: string, now = NOW) => findKey(token, byKey, now)

test.each([
  ['its token', TOKEN, 'key:web'],
  ['its token, where another has the same prefix', OTHER, 'key:twin'],
  ['its hash, where the prefix is not known', OLD, 'key:old'],
])('TI-05: a key is found by %s', (_, token, caller) => {
  expect(find(token)).toMatchObject({ route, caller })
})

test('TI-05: a key may do what its route says, and all but administer where that says nothing', () => {
  expect(find(TOKEN)?.scopes).toEqual(new Set(['tasks:read']))
  expect(find(OLD)?.scopes).toEqual(new Set(DEFAULT_SCOPES))
})

test.each([
  ['its prefix alone', prefix],
  ['another token with its prefix', `${prefix}${'w'.repeat(35)}`],
  ['its token cut short', TOKEN.slice(0, -1)],
  ['its token in upper case', TOKEN.toUpperCase()],
  ['its hash', hash(TOKEN)],
  ['the hash of one that is found by it', hash(OLD)],
  ['nothing', ''],
  ['far too much', TOKEN.padEnd(300, 'x')],
])('TI-05: a key is not found by %s', (_, token) => {
  expect(find(token)).toBeUndefined()
})

test('TI-05: a key ends at its time, to the millisecond', () => {
  expect(find(ENDING, NOW - 1)?.caller).toBe('key:ending')
  expect(find(ENDING, NOW)).toBeUndefined()
})
