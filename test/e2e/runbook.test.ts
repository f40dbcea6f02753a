import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, inject, test } from 'vitest'
import { printFigure } from '../builders/figure.ts'

const { env, onCluster } = inject('platform')
const PROGRAMS = ['kubectl', 'curl', 'psql', 'redis-cli']
const sections = readFileSync('docs/runbook.md', 'utf8')
  .split(/^## /m)
  .map((text) => ({
    title: text.slice(0, text.indexOf('\n')),
    commands: [...text.matchAll(/^ {4}(.+)$/gm)].map(([, command = '']) => command),
  }))

/** Runs what people copy, in the shell that they have after `. .tenantry/env`. */
function shell(command: string) {
  const PATH = (env.PATH ?? '').replace(/\$\{?PATH\}?/, process.env.PATH ?? '')
  return spawnSync('bash', ['-o', 'pipefail', '-c', command], { env: { ...process.env, ...env, PATH }, encoding: 'utf8', timeout: 90_000 })
}

const present = new Set(PROGRAMS.filter((program) => shell(`command -v ${program}`).status === 0))

test.for(sections)('the commands of the runbook work: $title', ({ commands }) => {
  for (const command of commands) {
    const [program = ''] = command.split(' ')
    expect(PROGRAMS).toContain(program)
    if (!present.has(program)) {
      printFigure(`runbook: NOT RUN, since there is no ${program} here: ${command}`)
      continue
    }
    // There a server is reached by a port-forward of one's own, with a password out of its Secret.
    const [, missing] = /\$([A-Z_]+)/.exec(command) ?? []
    if (onCluster && missing !== undefined && env[missing] === undefined) {
      printFigure(`runbook: NOT RUN on a cluster, where nobody sets ${missing}: ${command}`)
      continue
    }
    const { status, stdout, stderr } = shell(command)
    expect(status === 0 ? '' : `${command}\n${stderr}${stdout}`).toBe('')
    // Something is to be seen, but for lists that are empty while all is well.
    if (!command.includes('type=Warning')) expect(stdout.trim(), command).not.toBe('')
  }
})
