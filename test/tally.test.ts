import { expect, test } from 'vitest'
import { closingLine, exitCode, progressLine } from './tally.ts'

test('the closing line has the two counts and nothing else', () => {
  expect(closingLine({ passed: 12, failed: 0 })).toBe('12 passed, 0 failed')
})

test('a run in which nothing ran has failed', () => {
  expect(exitCode({ passed: 0, failed: 0 })).toBe(1)
  expect(exitCode({ passed: 3, failed: 1 })).toBe(1)
  expect(exitCode({ passed: 3, failed: 0 })).toBe(0)
})

test('progress carries the seconds', () => {
  expect(progressLine('ok', 1234, 'x')).toBe('  ok    1.23 s  x')
})
