import { expect, test } from 'vitest'
import { acceptedVersions, isKnown } from './conditions.ts'

const UNREADABLE = ['3', '"3', '3"', 'w/"3"', '', ' ', ',', '"3" "4"', '"3", x', '*, "3"', '"3""', '"\u0000"', '"a b"']

// What each header says of version 3: compared strongly and weakly (RFC 9110, 8.8.3.2).
const HEADERS: readonly [header: string, strongly: boolean, weakly: boolean][] = [
  ['"3"', true, true],
  [' "3" ', true, true],
  ['*', true, true],
  [' * ', true, true],
  ['W/"3"', false, true],
  ['"2"', false, false],
  ['"03"', false, false],
  ['"3.0"', false, false],
  ['""', false, false],
  ['"abc"', false, false],
  ['"*"', false, false],
  ['"99999999999999999999"', false, false],
  ['"1", "3"', true, true],
  ['"1","3","5"', true, true],
  ['"1" ,\t"3" ,', true, true],
  [', ,"3"', true, true],
  ['W/"3", "4"', false, true],
  ['W/"3", "3"', true, true],
  ['"2,3"', false, false],
  ['"2,", "3"', true, true],
  ['"\u00e9", "3"', true, true],
]

test.each(HEADERS)('HT-03: If-Match: %s accepts version 3: %s; If-None-Match knows it: %s', (header, strongly, weakly) => {
  expect(acceptedVersions({ 'if-match': header })?.(3)).toBe(strongly)
  expect(isKnown(header, '"3"')).toBe(weakly)
  expect(acceptedVersions({ 'if-none-match': header })?.(3)).toBe(!weakly)
})

test.each(UNREADABLE)('HT-03: a condition %j cannot be read', (header) => {
  const refusal = expect.objectContaining({ code: 'invalid-request' })
  expect(() => isKnown(header, '"3"')).toThrow(refusal)
  expect(() => acceptedVersions({ 'if-match': header })).toThrow(refusal)
  expect(() => acceptedVersions({ 'if-none-match': header })).toThrow(refusal)
})

test('HT-03: without a condition every version is accepted, and none is known', () => {
  expect(acceptedVersions({})).toBeUndefined()
  expect(isKnown(undefined, '"3"')).toBe(false)
})

test('HT-03: both conditions must hold', () => {
  const accepts = acceptedVersions({ 'if-match': '"3", "4"', 'if-none-match': '"4"' })
  expect([2, 3, 4].map((version) => accepts?.(version))).toEqual([false, true, false])
})

test('HT-03: a long header is read in no time', () => {
  const begun = performance.now()
  for (const header of ['"'.repeat(16_000), ', '.repeat(8_000), `${' '.repeat(16_000)}x`, 'W/'.repeat(8_000)]) {
    expect(() => isKnown(header, '"3"')).toThrow()
  }
  expect(performance.now() - begun).toBeLessThan(1_000)
})
