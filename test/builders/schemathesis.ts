import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolder } from '../../config/local/build.ts'
import { run } from '../../config/local/run.ts'

const VERSION = '4.32.5'

/** An index that does not answer is not waited for. */
const QUICKLY = ['--quiet', '--disable-pip-version-check', '--retries', '1', '--timeout', '10']

/** The Python that has Schemathesis, a fuzzer for OpenAPI documents; installed into the cache folder the first time. Throws when it cannot be had. */
export async function findSchemathesis(): Promise<string> {
  const folder = join(cacheFolder(), `schemathesis-${VERSION}`)
  const python = join(folder, 'bin', 'python')
  if (await works(python)) return python
  await mkdir(cacheFolder(), { recursive: true })
  const made = await mkdtemp(`${folder}-`)
  try {
    await run('python3', ['-m', 'venv', made])
    await run(join(made, 'bin', 'python'), ['-m', 'pip', 'install', ...QUICKLY, `schemathesis==${VERSION}`])
    await rm(folder, { recursive: true, force: true })
    await rename(made, folder)
  } catch (cause) {
    await rm(made, { recursive: true, force: true })
    // Another run may have been faster.
    if (!(await works(python))) throw cause
  }
  return python
}

function works(python: string): Promise<boolean> {
  return run(python, ['-m', 'schemathesis.cli', '--version']).then(
    () => true,
    () => false,
  )
}
