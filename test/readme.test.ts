import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { SHARD_REASONS } from '../crds/shard.ts'
import { TENANT_REASONS } from '../crds/tenant.ts'
import { describeSettings as describeOperator } from '../operator/settings.ts'
import { PLANS } from '../operator/tenant/limits.ts'
import { ERRORS } from '../runtime/errors.ts'
import { PROBLEM_TYPES } from '../runtime/http/problem-types.ts'
import { describeSettings as describeRuntime } from '../runtime/settings.ts'
import { printFigure } from './builders/figure.ts'

const README = readFileSync('README.md', 'utf8')

/** The rows of all tables under a heading whose first cell is a word in backticks: that word, and the other cells, without Markdown's escapes. */
function rows(heading: string): [string, string[]][] {
  const section = README.split(/^##+ /m).find((text) => text.startsWith(heading)) ?? ''
  return [...section.matchAll(/^\| `(\w[\w-]*)` \| (.*) \|$/gm)].map(([, word = '', cells = '']) => [
    word,
    cells.replaceAll('\\<', '<').split(' | '),
  ])
}

/** What `--help` prints, as rows of a table. */
function settings(help: string): [string, string[]][] {
  return [...help.matchAll(/^ *(\w+) +(.*?)(?: \(([^()]*)\))?$/gm)].map(([, name = '', meaning = '', preset = '']) => [
    name,
    [meaning, preset === '' ? '' : `\`${preset}\``],
  ])
}

test('the table of errors is that of the code', () => {
  const errors = Object.entries(PROBLEM_TYPES).map(([code, { meaning }]) => [
    code,
    [String(new Map(Object.entries(ERRORS)).get(code)), meaning],
  ])
  expect(rows('When a request is refused')).toEqual(errors)
  expect(Object.keys(PROBLEM_TYPES)).toEqual(Object.keys(ERRORS))
})

test('the tables of reasons are those of the code', () => {
  const table = rows('When a resource is not Ready').map(([reason, [meaning]]) => [reason, meaning])
  expect(table).toEqual([...Object.entries(TENANT_REASONS), ...Object.entries(SHARD_REASONS)])
})

test('the table of plans is that of the code', () => {
  const seconds = (milliseconds: number) => `${milliseconds / 1_000} s`
  const count = (number: number) => number.toLocaleString('en')
  const plans = Object.entries(PLANS).map(([plan, { statementMs, lockMs, idleInTransactionMs, ...counts }]) => {
    const { connections, requestsPerSecond, concurrency, tasks, users, storageMiB } = counts
    const times = [statementMs, lockMs, idleInTransactionMs].map(seconds)
    return [plan, [...times, ...[connections, requestsPerSecond, concurrency, tasks, users, storageMiB].map(count)]]
  })
  expect(rows('Plans and limits')).toEqual(plans)
})

test('the table of what a tenant sets has what the CRD declares', () => {
  const crd = parse(readFileSync('crds/tenant.yaml', 'utf8'))
  const { properties } = crd.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.settings
  expect(rows('What a tenant sets').map(([name]) => name)).toEqual(Object.keys(properties))
})

test('the tables of settings are what --help prints', () => {
  expect(rows('Settings')).toEqual([...settings(describeRuntime()), ...settings(describeOperator())])
})

test('every make target that is named exists', () => {
  const targets = new Set([...readFileSync('Makefile', 'utf8').matchAll(/^([a-z0-9-]+):.*##/gm)].map(([, target]) => target))
  const named = [...README.matchAll(/(?:^ {4}|`)make ([a-z0-9-]+)/gm)].map(([, target]) => target)
  expect(named.filter((target) => !targets.has(target))).toEqual([])
})

test('the TypeScript example is the one that is run', () => {
  expect(README).toContain(readFileSync('test/client/example.ts', 'utf8'))
})

test('HT-01: each of the ten risks has tests, and they are there', () => {
  const files = globSync('{test,runtime}/**/*.test.ts').map((path) => ({
    name: basename(path, '.test.ts'),
    text: readFileSync(path, 'utf8'),
  }))
  const risks = rows('The ten risks').map(([risk, [, , tests = '']]) => ({
    risk,
    tests: [...tests.matchAll(/`([\w-]+)` \(([A-Z0-9-]+)\)/g)],
  }))
  const isThere = ([, name, code]: RegExpExecArray) => files.some((file) => file.name === name && file.text.includes(`${code}: `))
  const held = risks.filter(({ tests }) => tests.length > 0 && tests.every(isThere)).map(({ risk }) => risk)
  expect(held).toEqual(Array.from({ length: 10 }, (_, at) => `API${at + 1}`))
  printFigure(`HT-01: ${held.length} of 10 risks, held by ${new Set(risks.flatMap(({ tests }) => tests.map(([test]) => test))).size} tests`)
})
