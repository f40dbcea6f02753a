import { spawn } from 'node:child_process'
import type { User } from './processes.ts'

/** How a command is run. `input` goes to its standard input, `onLine` gets each line of its standard error. */
export type RunOptions = {
  user?: User | undefined
  cwd?: string
  env?: Readonly<Record<string, string>>
  input?: string
  onLine?: (line: string) => void
  signal?: AbortSignal | undefined
}

/** A command that ended with an error. The message holds what it wrote to standard error. */
export class CommandError extends Error {
  readonly exitCode: number | null
  /** The lines of its standard error. */
  readonly faults: readonly string[]

  constructor(command: string, exitCode: number | null, stderr: string) {
    super(`${command} ended with ${exitCode ?? 'a signal'}: ${stderr.trim()}`)
    this.name = 'CommandError'
    this.exitCode = exitCode
    this.faults = stderr.trim().split('\n')
  }
}

/** Runs a command to its end and returns what it wrote. Throws CommandError, and the signal's reason when it was aborted. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<{ stdout: string; stderr: string }> {
  options.signal?.throwIfAborted()
  const child = spawn(command, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    cwd: options.cwd ?? '/',
    env: { ...process.env, ...options.env },
    ...options.user,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  const [out, err]: Buffer[][] = [[], []]
  child.stdout?.on('data', (chunk: Buffer) => out?.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => {
    err?.push(chunk)
    for (const line of chunk.toString('utf8').split('\n')) if (line !== '') options.onLine?.(line)
  })
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input)
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('error', reject)
  child.once('close', resolve)
  const exitCode = await promise
  const text = (chunks: Buffer[] | undefined) => Buffer.concat(chunks ?? []).toString('utf8')
  if (exitCode !== 0) throw new CommandError(`${command} ${args[0] ?? ''}`.trim(), exitCode, text(err))
  return { stdout: text(out), stderr: text(err) }
}
