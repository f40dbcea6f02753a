import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import { REPOSITORY } from './target.ts'

/** The programs that are shipped as images. */
export const PROGRAMS = ['operator', 'runtime'] as const

/** One of the two programs. */
export type ProgramName = (typeof PROGRAMS)[number]

// Packages that are CommonJS ask for Node's modules in that way.
const REQUIRE = "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);"

/**
 * Writes a program as one file, with what it reads at run time in the same place beside it as in the repository. The same sources give the
 * same bytes. Resolves with a short hash of them, which names the edition.
 */
export async function bundle(program: ProgramName, folder: string): Promise<string> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await build({
    absWorkingDir: REPOSITORY,
    entryPoints: [join(program, 'main.ts')],
    outfile: join(folder, program, 'main.js'),
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    banner: { js: REQUIRE },
    logLevel: 'warning',
  })
  await cp(join(REPOSITORY, 'package.json'), join(folder, 'package.json'))
  if (program === 'operator') await cp(join(REPOSITORY, 'config', 'migrations'), join(folder, 'config', 'migrations'), { recursive: true })
  return seal(folder)
}

/** Sets all times to one, since they are part of an image's layers, and hashes names and contents. */
async function seal(folder: string): Promise<string> {
  const hash = createHash('sha256')
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  for (const entry of entries.sort((a, b) => (join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1))) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) hash.update(`${path.slice(folder.length)}\0`).update(await readFile(path))
    await utimes(path, 0, 0)
  }
  await utimes(folder, 0, 0)
  return hash.digest('hex').slice(0, 12)
}
