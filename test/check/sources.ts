import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import type { Source } from './imports.ts'

const TEXT = /\.(ts|sql|ya?ml|json|md|sh)$|(^|\/)(Makefile|run|Dockerfile|\.npmrc|\.gitignore)$/

/** Every text file of the repository that git knows or would take in. */
export function readSources(): Source[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  const paths = listed.split('\n').filter((path) => TEXT.test(path) && existsSync(path))
  return paths.map((path) => ({ path, text: readFileSync(path, 'utf8') }))
}
