import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { describeSettings as describeOperator } from '../operator/settings.ts'
import { describeSettings as describeRuntime } from '../runtime/settings.ts'
import { printFigure } from './builders/figure.ts'

const PAGE = readFileSync('docs/production.md', 'utf8')
const [, ...sections] = (PAGE.split('## Sizing')[0] ?? '').split(/^## /m)
const lines = sections.flatMap((section) =>
  [...section.matchAll(/^\| (?!what|---)(.*) \| (.*) \| (.*) \|$/gm)].map(([, what = '', by = '', test = '']) => ({ what, by, test })),
)
const quoted = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word)

const settings = `${describeRuntime()}\n${describeOperator()}`
const [tenant, shard] = ['tenant', 'shard'].map(
  (kind) => parse(readFileSync(`crds/${kind}.yaml`, 'utf8')).spec.versions[0].schema.openAPIV3Schema,
)
const api = readFileSync('test/client/api.ts', 'utf8')
const targets = readFileSync('Makefile', 'utf8')

/** Whether a field such as `spec.tls.mode` is one of Tenants or Shards. */
function isField(path: string): boolean {
  return [tenant, shard].some((schema) => path.split('.').reduce((at, name) => at?.properties?.[name], schema) !== undefined)
}

/** Whether what makes it so is there: a setting, a field, a file, a request, a target of make, or a word that stands in the CRD. */
function exists(word: string): boolean {
  if (word.startsWith('TENANTRY_')) return settings.includes(`${word} `)
  if (word.startsWith('spec.')) return isField(word)
  if (word.startsWith('make ')) return targets.includes(`\n${word.slice(5)}:`)
  if (/^(GET|DELETE) /.test(word)) return api.includes(`'${word.split(' ')[1]}'`)
  if (/\.(yaml|md)$/.test(word)) return existsSync(word) || existsSync(join('config', 'kubernetes', word))
  return readFileSync('crds/tenant.yaml', 'utf8').includes(`${word}:`)
}

test('the checklist names what makes each line so, and all of it exists', () => {
  expect(lines.length).toBeGreaterThan(30)
  expect(lines.flatMap(({ by }) => quoted(by)).filter((word) => !exists(word))).toEqual([])
  expect(lines.filter(({ by }) => by.trim() === '')).toEqual([])
})

test('each line has a test that is there, or says that it is to be seen to by hand', () => {
  const tests = lines.flatMap(({ test }) => quoted(test))
  expect(tests.filter((path) => !existsSync(path) && !existsSync(join('test', path)))).toEqual([])
  const unheld = lines.filter(({ test }) => quoted(test).length === 0)
  expect(unheld.filter(({ test }) => test !== 'by hand')).toEqual([])
  printFigure(
    `production: ${lines.length} lines, ${lines.length - unheld.length} held by ${new Set(tests).size} test files, ${unheld.length} by hand`,
  )
})
