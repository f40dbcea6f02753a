import { mkdir, writeFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { assertions, PRELUDE, readCrd } from './crds.ts'
import type { Source } from './imports.ts'
import { run } from './step.ts'

const TSCONFIG = { extends: '../../tsconfig.json', compilerOptions: { rootDir: '../..' }, include: ['crds.ts'] }

/** Holds the types of crds/*.ts to the schemas of the manifests, by letting tsc compile one line for each place of the schema. */
export async function crdFaults(manifests: readonly Source[]): Promise<string[]> {
  return manifests.length === 0 ? ['crds/ has no manifest'] : compile('.test/check', manifests.map(written).join('\n'))
}

/** Compiles what `assertions` wrote, in a folder two levels below the root: a sentence for each place that does not hold. */
export async function compile(folder: string, text: string): Promise<string[]> {
  await mkdir(folder, { recursive: true })
  await writeFile(`${folder}/tsconfig.json`, JSON.stringify(TSCONFIG))
  await writeFile(`${folder}/crds.ts`, `${text}\n${PRELUDE}`)
  const [output] = await run('tsc', ['--project', folder, '--pretty', 'false'])
  return output === undefined ? [] : explain(output, text.split('\n'))
}

function written({ path, text }: Source): string {
  const { kind, schema } = readCrd(parse(text))
  const parts = [
    ['Spec', 'spec'],
    ['Status', 'status'],
  ] as const
  const names = parts.map(([suffix]) => `${kind}${suffix}`)
  return [
    `import type { ${names.join(', ')} } from '../../${path.replace(/\.yaml$/, '.ts')}'`,
    ...parts.flatMap(([suffix, part]) => assertions(`${kind}${suffix}`, `${path} ${part}`, schema.properties?.[part] ?? {})),
  ].join('\n')
}

// tsc names a line of the written file; people want the place of the schema that the line ends in.
function explain(output: string, lines: readonly string[]): string[] {
  return output.split('\n').flatMap((message) => {
    const match = /^\S+\((?<line>\d+),\d+\): error \w+: (?<text>.*)$/.exec(message)
    if (match?.groups === undefined) return message.startsWith(' ') ? [] : [message]
    const place = lines[Number(match.groups.line) - 1]?.split(' // ')[1]
    return [place === undefined ? message : `${place}: ${match.groups.text}`]
  })
}
