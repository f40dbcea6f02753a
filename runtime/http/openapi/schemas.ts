import { z } from 'zod'
import type { Operation } from './operation.ts'

/** A JSON Schema, draft 2020-12, as OpenAPI 3.1 embeds it. */
export type JsonSchema = z.core.JSONSchema.BaseSchema

/** What an operation takes: an object schema with the same names that its zod schema parses. */
export function inputSchema({ input, id }: Operation): JsonSchema & { properties: Record<string, JsonSchema>; required: string[] } {
  const { $schema: _, ...schema } = z.toJSONSchema(input, { io: 'input', override: plain })
  if (schema.type !== 'object') throw new Error(`the input of ${id} is no object`)
  // zod takes examples away from what it transforms, since they might be of what comes out; ours are of what goes in.
  const { examples } = input.meta() ?? {}
  const { properties = {}, required = [] } = schema
  return { ...schema, properties: Object(properties), required, ...(Array.isArray(examples) ? { examples } : {}) }
}

/** The named schemas of all answers, which refer to each other by name. Throws when one has no title, or two have the same. */
export function componentSchemas(outputs: Iterable<z.ZodType>): Record<string, JsonSchema> {
  const registry = z.registry<{ id: string }>()
  for (const output of new Set(outputs)) registry.add(output, { id: titleOf(output) })
  const { schemas } = z.toJSONSchema(registry, { io: 'output', uri: refTo, override: plain })
  return Object.fromEntries(Object.entries(schemas).map(([name, { $schema: _, $id: __, ...schema }]) => [name, schema]))
}

/** How other parts of the document refer to an answer's schema. */
export function schemaRef(output: z.ZodType): { $ref: string } {
  return { $ref: refTo(titleOf(output)) }
}

function titleOf(output: z.ZodType): string {
  const title = output.meta()?.title
  if (title === undefined) throw new Error('the schema of an answer needs a title: .meta({ title })')
  return title
}

function refTo(name: string): string {
  return `#/components/schemas/${name}`
}

// The pattern of a format says nothing that the format does not, in three lines; the largest integer is that of JavaScript, not ours.
function plain({ jsonSchema }: { jsonSchema: JsonSchema }): void {
  if (jsonSchema.format !== undefined) delete jsonSchema.pattern
  if (jsonSchema.type === 'integer' && jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (jsonSchema.type === 'integer' && jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
}
