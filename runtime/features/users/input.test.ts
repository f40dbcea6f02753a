import { expect, test } from 'vitest'
import { newUser } from './input.ts'

const parse = (email: unknown, displayName: unknown = 'Ann') => newUser.safeParse({ email, displayName })

test.each([
  ['ann@example.com', 'ann@example.com'],
  ['  Ann.Lee+tag@Mail.EXAMPLE.com\n', 'ann.lee+tag@mail.example.com'],
])('%j is kept as %j', (sent, kept) => {
  expect(parse(sent).data).toEqual({ email: kept, displayName: 'Ann' })
})

test.each([
  '',
  'ann',
  'ann@',
  '@example.com',
  'ann@example',
  'a b@example.com',
  'ann@example.com,bob@example.com',
  'ann\u0000@example.com',
  'Ann <ann@example.com>',
  `${'a'.repeat(250)}@example.com`,
  7,
  null,
  undefined,
])('%j is no e-mail address', (sent) => {
  expect(parse(sent).error?.issues.map(({ path }) => path.join())).toEqual(['email'])
})

test.each(['', 'x'.repeat(201), 'a\u0000b', '\ud800', 7])('%j is no display name', (sent) => {
  const faults = new Set(parse('ann@example.com', sent).error?.issues.map(({ path }) => path.join()))
  expect([...faults]).toEqual(['displayName'])
})

test('nothing else is taken', () => {
  expect(newUser.safeParse({ email: 'ann@example.com', displayName: 'Ann', version: 7 }).success).toBe(false)
})
