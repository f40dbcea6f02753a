import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

/** One thing that `make check` looks at. */
export type Step = {
  name: string
  /** What is wrong, a text for each fault; none: all is well. */
  faults: () => Promise<string[]>
}

/** Runs a program out of node_modules/.bin, which `make` has put in front of PATH. What it printed is the fault when it fails. */
export async function run(program: string, args: readonly string[]): Promise<string[]> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return code === 0 ? [] : [`${out}${err}`.trim() || `${program} ended with ${code}`]
}
