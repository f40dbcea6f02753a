import { z } from 'zod'

/** The part of an OpenAPI schema that a TypeScript type can say as well. */
export type Schema = {
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean' | undefined
  properties?: Record<string, Schema> | undefined
  required?: string[] | undefined
  additionalProperties?: Schema | undefined
  items?: Schema | undefined
  enum?: string[] | undefined
  default?: unknown
  'x-kubernetes-preserve-unknown-fields'?: boolean | undefined
}

const schema: z.ZodType<Schema> = z.lazy(() =>
  z.object({
    type: z.enum(['object', 'array', 'string', 'integer', 'number', 'boolean']).optional(),
    properties: z.record(z.string(), schema).optional(),
    required: z.array(z.string()).optional(),
    additionalProperties: schema.optional(),
    items: schema.optional(),
    enum: z.array(z.string()).optional(),
    default: z.unknown().optional(),
    'x-kubernetes-preserve-unknown-fields': z.boolean().optional(),
  }),
)

const manifest = z.object({
  spec: z.object({
    names: z.object({ kind: z.string() }),
    versions: z.tuple([z.object({ schema: z.object({ openAPIV3Schema: schema }) })]),
  }),
})

/** Reads a CustomResourceDefinition: its kind, and the schema of its one version. Throws for what is none. */
export function readCrd(document: unknown): { kind: string; schema: Schema } {
  const { spec } = manifest.parse(document)
  return { kind: spec.names.kind, schema: spec.versions[0].schema.openAPIV3Schema }
}

/** What the lines of `assertions` stand on. */
export const PRELUDE = `
type Optional<T> = { [K in keyof T]-?: Record<never, never> extends Pick<T, K> ? K : never }[keyof T]
type IsArray<T> = T extends readonly unknown[] ? true : false
type HasAnyKey<T> = string extends keyof T ? true : false
declare function same<Ours, Manifests>(there: (ours: Ours) => Manifests, back: (manifests: Manifests) => Ours): void
`

/**
 * Writes TypeScript that compiles only when `type` says the same as the schema: at each place the same keys, the same of them
 * optional, and the same values. Each line ends in the place it speaks of. A property with a default is never missing, since the
 * API server puts it in.
 */
export function assertions(type: string, place: string, schema: Schema): string[] {
  if (schema.properties !== undefined) return object(type, place, schema.properties, schema.required ?? [])
  if (schema.additionalProperties !== undefined) {
    return [same(`HasAnyKey<${type}>`, 'true', place), ...assertions(`${type}[string]`, `${place}.*`, schema.additionalProperties)]
  }
  if (schema.items !== undefined)
    return [same(`IsArray<${type}>`, 'true', place), ...assertions(`${type}[number]`, `${place}[]`, schema.items)]
  return [same(type, leaf(schema), place)]
}

function object(type: string, place: string, properties: Record<string, Schema>, required: readonly string[]): string[] {
  const names = Object.keys(properties)
  const missing = names.filter((name) => !required.includes(name) && properties[name]?.default === undefined)
  return [
    same(`keyof ${type}`, union(names), `${place}: its fields`),
    same(`Optional<${type}>`, union(missing), `${place}: its fields that may be missing`),
    ...Object.entries(properties).flatMap(([name, property]) =>
      assertions(`NonNullable<${type}['${name}']>`, `${place}.${name}`, property),
    ),
  ]
}

function leaf(schema: Schema): string {
  if (schema.enum !== undefined) return union(schema.enum)
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return 'Record<string, unknown>'
  return schema.type === 'integer' ? 'number' : (schema.type ?? 'unknown')
}

function union(words: readonly string[]): string {
  return words.length === 0 ? 'never' : words.map((word) => JSON.stringify(word)).join(' | ')
}

function same(ours: string, manifests: string, place: string): string {
  return `same<${ours}, ${manifests}>((ours) => ours, (manifests) => manifests) // ${place}`
}
