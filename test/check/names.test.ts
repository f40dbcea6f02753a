import { expect, test } from 'vitest'
import { untidy } from './names.ts'

const path = (...parts: string[]): string => ['', ...parts, 'x'].join('/')

test.each(['runtime/utils/a.ts', 'runtime/http-helpers.ts', 'operator/base.ts', 'runtime/commands/task-service.ts', 'common/x.sql'])(
  '%s says nothing',
  (name) => {
    expect(untidy({ path: name, text: '' })).toHaveLength(1)
  },
)

test.each(['config/local/servers/base64.ts', 'runtime/shards/database.ts', 'runtime/management.ts'])('%s is a name', (name) => {
  expect(untidy({ path: name, text: '' })).toEqual([])
})

test('a file of 301 lines is too long', () => {
  expect(untidy({ path: 'a.ts', text: '\n'.repeat(300) })).toEqual([])
  expect(untidy({ path: 'a.ts', text: '\n'.repeat(301) })).toHaveLength(1)
})

test('paths of one machine are found, relative ones and addresses are not', () => {
  const text = [
    `const a = '${path('root', 'b')}'`,
    `see ${path('home', 'me')}`,
    'https://example.com/home/me/x',
    './root/x',
    'a/tmp/x',
  ].join('\n')
  expect(untidy({ path: 'a.ts', text })).toEqual([expect.stringContaining('a.ts:1'), expect.stringContaining('a.ts:2')])
})

test('a lockfile that names its registry is found', () => {
  expect(untidy({ path: 'package-lock.json', text: '{ "resolved": "…" }' })).toHaveLength(1)
})
