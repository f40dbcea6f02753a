import { expect, test } from 'vitest'
import { entityTag, expectedVersion, isKnown } from './conditions.ts'

test.each([
  [undefined, undefined],
  ['*', undefined],
  ['"1"', 1],
  [' "42" ', 42],
])('HT-03: If-Match %s asks for version %s', (header, version) => {
  expect(expectedVersion(header)).toBe(version)
})

test.each(['W/"1"', '"0"', '"-1"', '"1.5"', '"abc"', '""', '"99999999999999999999"'])('HT-03: If-Match %s is none of ours', (header) => {
  expect(() => expectedVersion(header)).toThrow(expect.objectContaining({ code: 'precondition-failed' }))
})

test.each(['1', '"1', 'w/"1"', '"1", "2"', ''])('HT-03: If-Match %s cannot be read', (header) => {
  expect(() => expectedVersion(header)).toThrow(expect.objectContaining({ code: 'invalid-request' }))
})

test('HT-03: If-None-Match compares weakly, in a list', () => {
  expect(isKnown(undefined, 3)).toBe(false)
  expect(isKnown('*', 3)).toBe(true)
  expect(isKnown(`W/"1", ${entityTag(3)}`, 3)).toBe(true)
  expect(isKnown('"1"', 3)).toBe(false)
  expect(() => isKnown('3', 3)).toThrow(expect.objectContaining({ code: 'invalid-request' }))
})
