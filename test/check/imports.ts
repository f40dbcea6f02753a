import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import { parseSync } from 'oxc-parser'

/** A source file: its path from the root of the repository, and its text. */
export type Source = { path: string; text: string }

/** What a file imports, types too: files of ours by path, packages by name, and modules of Node by name. */
export type Imports = { path: string; own: string[]; packages: string[]; node: string[] }

/** Reads the imports of a TypeScript file: static, re-exported and dynamic. Throws for a text that does not parse. */
export function importsOf({ path, text }: Source): Imports {
  const imports: Imports = { path, own: [], packages: [], node: [] }
  for (const specifier of new Set(specifiersOf(path, text))) {
    if (specifier.startsWith('.')) imports.own.push(posix.join(posix.dirname(path), specifier))
    else if (isBuiltin(specifier)) imports.node.push(specifier)
    else imports.packages.push(packageOf(specifier))
  }
  return imports
}

function specifiersOf(path: string, text: string): string[] {
  const { module, errors } = parseSync(path, text)
  if (errors[0] !== undefined) throw new Error(`${path}: ${errors[0].message}`)
  return [
    ...module.staticImports.map((statement) => statement.moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) => entries.flatMap(({ moduleRequest }) => moduleRequest?.value ?? [])),
    ...module.dynamicImports.map(({ moduleRequest }) => literal(text.slice(moduleRequest.start, moduleRequest.end), path)),
  ]
}

// An import whose target only shows at run time cannot be held to any rule.
function literal(expression: string, path: string): string {
  const match = /^(['"])(?<specifier>[^'"]+)\1$/.exec(expression)
  if (match?.groups?.specifier === undefined) throw new Error(`${path}: import(${expression}) should name its module in quotes`)
  return match.groups.specifier
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}
