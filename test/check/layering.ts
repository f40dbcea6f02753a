import { matchesGlob } from 'node:path'
import type { Imports } from './imports.ts'
import { FREE_OF_PACKAGES, LAYERS, type Layer, PACKAGES } from './layers.ts'

/** Holds every file to the tables of layers.ts: a sentence for each import that should not be there, and for each cycle. */
export function violations(files: readonly Imports[]): string[] {
  const shipped = files.filter(({ path }) => !path.endsWith('.test.ts'))
  return [
    ...shipped.flatMap((file) => LAYERS.filter((layer) => concerns(layer, file.path)).flatMap((layer) => broken(layer, file))),
    ...shipped.filter(({ path }) => !matches(path, FREE_OF_PACKAGES)).flatMap(foreign),
    ...cycles(shipped),
  ]
}

function concerns(layer: Layer, path: string): boolean {
  return matches(path, layer.files) && !matches(path, layer.except ?? [])
}

function broken(layer: Layer, { path, own, packages, node }: Imports): string[] {
  const wrong = [
    ...own.filter((target) => !matches(target, layer.only ?? ['**']) || matches(target, layer.never ?? [])),
    ...packages.filter((name) => !(layer.packages ?? packages).includes(name)),
    ...(layer.node === false ? node : []),
  ]
  return wrong.map((target) => `${path} imports ${target}: ${layer.because}`)
}

function foreign({ path, packages }: Imports): string[] {
  return packages.flatMap((name) => {
    const owners = Object.entries(PACKAGES).find(([pattern]) => matchesGlob(name, pattern))?.[1]
    if (owners === undefined) return [`${path} imports ${name}: no folder owns that package (test/check/layers.ts)`]
    return matches(path, owners) ? [] : [`${path} imports ${name}: only ${owners.join(' and ')} may`]
  })
}

function matches(path: string, globs: readonly string[]): boolean {
  return globs.some((glob) => matchesGlob(path, glob))
}

/** Every cycle of imports once, as `a -> b -> a`. */
function cycles(files: readonly Imports[]): string[] {
  const graph = new Map(files.map(({ path, own }) => [path, own]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) found.push(`${[...trail.slice(trail.indexOf(path)), path].join(' -> ')}: imports go round in a circle`)
    if (done.has(path) || trail.includes(path)) return
    for (const target of graph.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const path of graph.keys()) visit(path, [])
  return found
}
