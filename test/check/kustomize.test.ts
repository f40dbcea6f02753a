import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

const ROOT = join('config', 'kubernetes')

type Kustomization = {
  resources?: string[]
  components?: string[]
  patches?: { path?: string }[]
  configMapGenerator?: { files?: string[] }[]
}

/** Every file that a kustomization takes in, those of the folders that it names included. */
function usedBy(folder: string): string[] {
  const file = ['kustomization.yaml', 'Kustomization'].map((name) => join(folder, name)).find((path) => existsSync(path))
  if (file === undefined) throw new Error(`there is no kustomization in ${folder}`)
  const { resources = [], components = [], patches = [], configMapGenerator = [] }: Kustomization = parse(readFileSync(file, 'utf8'))
  const folders = [...resources, ...components].filter((name) => !name.endsWith('.yaml')).map((name) => normalize(join(folder, name)))
  const files = [
    ...resources.filter((name) => name.endsWith('.yaml')),
    ...patches.flatMap(({ path }) => path ?? []),
    ...configMapGenerator.flatMap((one) => one.files ?? []).map((name) => name.split('=').at(-1) ?? name),
  ]
  return [file, ...files.map((name) => normalize(join(folder, name))), ...folders.flatMap(usedBy)]
}

test('every manifest is used by an overlay', () => {
  const used = new Set(globSync(join(ROOT, 'overlays', '*')).flatMap(usedBy))
  const manifests = [...globSync(join(ROOT, '{base,components,overlays}', '**', '*.*')), ...globSync(join('crds', '*.yaml'))]
  expect(manifests.length).toBeGreaterThan(10)
  expect(manifests.filter((path) => !used.has(path))).toEqual([])
})

test('the images are of this version', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const { images }: { images: { newTag: string }[] } = parse(readFileSync(join(ROOT, 'base', 'kustomization.yaml'), 'utf8'))
  expect(images.map(({ newTag }) => newTag)).toEqual([version, version])
})

test('the custom metric of the autoscaler is one that the rules for prometheus-adapter make of one that the runtime exports', () => {
  const scaler = parse(readFileSync(join(ROOT, 'overlays', 'production', 'autoscaling.yaml'), 'utf8'))
  const { rules } = parse(readFileSync(join(ROOT, 'prometheus-adapter.yaml'), 'utf8'))
  const wanted = scaler.spec.metrics.flatMap(({ pods }: { pods?: { metric: { name: string } } }) => pods?.metric.name ?? [])
  expect(wanted).toEqual(rules.custom.map((rule: { name: { as: string } }) => rule.name.as))
  for (const name of wanted) expect(readFileSync('runtime/metrics.ts', 'utf8')).toContain(`'${name}'`)
})
