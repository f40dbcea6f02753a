import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const PROGRAM = `
import { createLog } from ${JSON.stringify(join(import.meta.dirname, 'log.ts'))}
const inner = Object.assign(new Error('inner'), { query: 'hide 1', where: 'hide 2' })
const outer = Object.assign(new Error('outer', { cause: inner }), { password: 'hide 3' })
const log = createLog('operator', 'info')
log.error({ err: outer, token: 'hide 4', headers: { authorization: 'hide 5', 'x-api-key': 'hide 6' }, tenant: 'acme' }, 'said')
log.debug({ tenant: 'acme' }, 'not said')
log.flush()`

test('a log line is JSON, with the causes of errors and without what could be a credential', () => {
  const said = execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', PROGRAM], { encoding: 'utf8' })
  expect(said).not.toContain('hide')
  expect(said.trim().split('\n')).toHaveLength(1)
  const error = { message: 'outer', cause: { message: 'inner' } }
  expect(JSON.parse(said)).toMatchObject({ level: 'error', program: 'operator', msg: 'said', tenant: 'acme', err: error })
})
