import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../local/run.ts'
import { bundle, PROGRAMS, type ProgramName } from './bundle.ts'
import { REPOSITORY } from './target.ts'

/** An image that was built: its repository, and its tag, which is the version and what the sources hash to. */
export type Image = { name: string; tag: string }

/**
 * Bundles both programs and builds their images with docker, on BASE_IMAGE where that is set. Each is tagged with the version alone too.
 * Throws CommandError.
 */
export async function buildImages(report: (line: string) => void, signal?: AbortSignal): Promise<Image[]> {
  const { version }: { version: string } = JSON.parse(await readFile(join(REPOSITORY, 'package.json'), 'utf8'))
  const images: Image[] = []
  for (const program of PROGRAMS) images.push(await buildImage(program, version, report, signal))
  return images
}

async function buildImage(program: ProgramName, version: string, report: (line: string) => void, signal?: AbortSignal): Promise<Image> {
  const context = join(REPOSITORY, 'build', 'images')
  const hash = await bundle(program, join(context, program))
  const image = { name: `tenantry/${program}`, tag: `${version}-${hash}` }
  const tags = [image.tag, version].flatMap((tag) => ['--tag', `${image.name}:${tag}`])
  const base = process.env.BASE_IMAGE ?? ''
  const options = [
    '--file',
    'config/kubernetes/Dockerfile',
    '--target',
    program,
    ...(base === '' ? [] : ['--build-arg', `BASE_IMAGE=${base}`]),
  ]
  await run('docker', ['build', ...options, ...tags, context], { cwd: REPOSITORY, signal })
  const { stdout } = await run('docker', ['image', 'inspect', '--format', '{{.Size}}', `${image.name}:${image.tag}`])
  report(`${image.name}:${image.tag}  ${Math.round(Number(stdout) / 1_000_000)} MB`)
  return image
}
