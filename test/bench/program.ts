import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { NODE_FLAGS } from '../../config/local/programs.ts'

/** A server under test, in a process of its own. */
export type Program = { pid: number; url: string; stop: () => Promise<void> }

/** Starts a program of this repository, as `make up` starts programs, and waits for its log line `{"msg":"listening","port":N}`. Throws when it ends before. */
export async function startServer(file: string, args: readonly string[], env: Record<string, string>): Promise<Program> {
  const child = start([...NODE_FLAGS, file, ...args], env)
  const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`${file} ended with ${code} before it listened`)))
  ended.catch(() => undefined)
  const port = await Promise.race([listening(child), ended])
  return { pid: child.pid ?? 0, url: `http://127.0.0.1:${port}`, stop: () => stop(child) }
}

/** Runs a program of this repository to its end and gives the JSON that it printed. Throws when it fails. */
export async function runToEnd(file: string, argument: unknown): Promise<unknown> {
  const child = start([file, JSON.stringify(argument)], {})
  if (child.stdout === null) throw new Error(`${file} has no output`)
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  if (code !== 0) throw new Error(`${file} ended with ${code}`)
  return JSON.parse(output)
}

function start(args: readonly string[], env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, [...args], { env: { ...inherited(), ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return child
}

// Settings of a platform whose environment was sourced in this shell are not meant for the bench's servers.
function inherited(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TENANTRY_')))
}

async function listening(child: ChildProcess): Promise<number> {
  if (child.stdout === null) throw new Error('the program has no output')
  // The reader stays, so that the pipe never fills up.
  const lines = createInterface(child.stdout)
  return new Promise((resolve) => lines.on('line', (line) => /"msg":"listening"/.test(line) && resolve(portIn(line))))
}

function portIn(line: string): number {
  return Number(JSON.parse(line).port)
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  await gone
}
