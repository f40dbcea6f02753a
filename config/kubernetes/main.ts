import { Command } from 'commander'
import { buildImages } from './images.ts'

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => interrupted.abort(new Error(`interrupted by ${signal}`)))
}

const program = new Command('kubernetes').description('Images of the programs, and the platform on a cluster.')
program
  .command('images')
  .description('bundle the programs and build their images; BASE_IMAGE: what they stand on')
  .action(() => attempt(() => buildImages(write, interrupted.signal)))
await program.parseAsync()

async function attempt(work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}

function write(line: string): void {
  process.stdout.write(`${line}\n`)
}
