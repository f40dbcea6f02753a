import { randomUUID } from 'node:crypto'
import type { Contract } from './conformance.ts'

type Schema = {
  type?: string | string[]
  format?: string
  enum?: unknown[]
  anyOf?: Schema[]
  examples?: unknown[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  minLength?: number
}
type Parameter = { name: string; in: string; schema: Schema }
type Described = {
  operationId: string
  security: Record<string, string[]>[]
  parameters: Parameter[]
  requestBody?: { content: { 'application/json': { schema: Schema } } }
}

/** One operation of the document, as a test calls it. */
export type Offered = {
  id: string
  method: string
  /** With names in braces. */
  template: string
  /** What the caller must be allowed to do, `any`: whatever it is; undefined: no credential is needed. */
  scope: string | undefined
  /** A body that it accepts; undefined: it takes none. */
  body: Record<string, unknown> | undefined
  /** What its query string may have, with a value of the right kind. */
  query: Record<string, string>
  /** The names in its body or query string that take the id of something. */
  references: string[]
}

/** Everything that a document offers. */
export function offeredBy({ document }: Pick<Contract, 'document'>): Offered[] {
  return Object.entries(document.paths).flatMap(([template, methods]) =>
    Object.entries(methods).map(([method, operation]) => offered(template, method, operation as unknown as Described)),
  )
}

function offered(template: string, method: string, { operationId, security, parameters, requestBody }: Described): Offered {
  const schema = requestBody?.content['application/json'].schema
  const inQuery = parameters.filter((parameter) => parameter.in === 'query')
  return {
    id: operationId,
    method: method.toUpperCase(),
    template,
    scope: security[0] && (Object.values(security[0])[0]?.[0] ?? 'any'),
    body: schema === undefined ? undefined : Object(exampleOf(schema)),
    references: [
      ...inQuery.filter((parameter) => isId(parameter.schema)).map(({ name }) => name),
      ...Object.entries(schema?.properties ?? {}).flatMap(([name, field]) => (isId(field) ? name : [])),
    ],
    query: Object.fromEntries(inQuery.map((parameter) => [parameter.name, String(exampleOf(parameter.schema))])),
  }
}

function isId({ format, anyOf = [] }: Schema): boolean {
  return format === 'uuid' || anyOf.some(isId)
}

/** The path with `value` in place of every name in braces. */
export function pathOf({ template }: Offered, value: string): string {
  return template.replaceAll(/\{\w+\}/g, value)
}

/** A body that a command accepts, with the mark wherever it takes any text; what must be the only one of its kind is. */
export function marked({ body = {} }: Offered, mark: string): Record<string, unknown> {
  const text = (name: string, value: unknown) =>
    name === 'email' ? `${mark}-${randomUUID()}@example.com` : /^(title|description|displayName|name)$/.test(name) ? mark : value
  return Object.fromEntries(Object.entries(body).map(([name, value]) => [name, Array.isArray(value) ? [mark] : text(name, value)]))
}

/** A value that a schema accepts: its own example, or the plainest one. */
function exampleOf(schema: Schema): unknown {
  if (schema.examples !== undefined) return schema.examples[0]
  if (schema.enum !== undefined) return schema.enum[0]
  if (schema.anyOf !== undefined) return exampleOf(schema.anyOf[0] ?? {})
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
  if (type === 'object') {
    const { required = [], properties = {} } = schema
    return Object.fromEntries(required.map((name) => [name, exampleOf(properties[name] ?? {})]))
  }
  if (type === 'array') return []
  if (type === 'integer' || type === 'number') return 1
  if (type === 'boolean') return true
  return FORMATS[schema.format ?? ''] ?? 'x'.repeat(Math.max(1, schema.minLength ?? 1))
}

const FORMATS: Record<string, string> = {
  uuid: '01890a5d-ac96-774b-bcce-b302099a8057',
  'date-time': '2027-01-31T12:00:00Z',
  email: 'someone@example.com',
}
