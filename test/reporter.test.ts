import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'

const FOLDER = '.test/reporter'
const CONFIG = `
  import { ProgressReporter } from '../../test/reporter.ts'
  export default { test: { include: ['**/*.planted.ts'], reporters: [new ProgressReporter()] } }`

const PLANTED = {
  'good.planted.ts': `import { test } from 'vitest'; test('holds', () => {}); test.skip('is skipped', () => {})`,
  'bad.planted.ts': `import { expect, test } from 'vitest'; test('does not hold', () => { expect(1).toBe(2) })`,
  'unloadable.planted.ts': `import './missing.ts'`,
  'hook.planted.ts': `import { beforeAll, describe, test } from 'vitest'
    describe('all of it', () => { beforeAll(() => { throw new Error('no') }); test('never runs', () => {}) })`,
  'late.planted.ts': `import { test } from 'vitest'; test('ends well', () => { setTimeout(() => { throw new Error('too late') }) })`,
}

beforeAll(() => {
  mkdirSync(FOLDER, { recursive: true })
  for (const [name, text] of Object.entries({ ...PLANTED, 'vitest.config.ts': CONFIG })) writeFileSync(`${FOLDER}/${name}`, text)
})

afterAll(() => rmSync(FOLDER, { recursive: true }))

function run(...filters: string[]): { status: number | null; lines: string[] } {
  const { stdout, status } = spawnSync('vitest', ['run', '--root', FOLDER, ...filters], { encoding: 'utf8' })
  return { status, lines: stdout.trim().split('\n') }
}

test.each([
  ['good', '1 passed, 1 failed'],
  ['bad', '0 passed, 1 failed'],
  ['unloadable', '0 passed, 1 failed'],
  ['hook', '0 passed, 2 failed'],
  ['late', '1 passed, 1 failed'],
  ['nowhere', '0 passed, 1 failed'],
])('a run of %s ends with %s and exit code 1', (file, closing) => {
  const { status, lines } = run(file)
  expect(lines.at(-1)).toBe(closing)
  expect(status).toBe(1)
})
