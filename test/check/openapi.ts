/** A schema as OpenAPI has it, as far as anything is known of it. */
export type Schema = {
  $ref?: string
  properties?: Record<string, Schema>
  items?: Schema
  additionalProperties?: Schema | boolean
  allOf?: Schema[]
  'x-kubernetes-preserve-unknown-fields'?: boolean
  'x-kubernetes-group-version-kind'?: Kind[]
  [keyword: string]: unknown
}

/** What an object says it is; `group` is empty for the oldest kinds. */
export type Kind = { group: string; version: string; kind: string }

/** What an API server says of the kinds of one group and version. */
export type OpenApi = { components: { schemas: Record<string, Schema> } }

/** The same as JSON Schema that is strict: where fields are declared, no other is allowed. */
export function definitionsOf({ components }: OpenApi): Record<string, Schema> {
  return mapped(components.schemas, strict)
}

/** The names of the schemas of those kinds that are of this group and version. */
export function kindsOf({ components }: OpenApi, group: string, version: string): [kind: string, schema: string][] {
  return Object.entries(components.schemas).flatMap(([name, schema]) =>
    (schema['x-kubernetes-group-version-kind'] ?? [])
      .filter((one) => one.group === group && one.version === version)
      .map(({ kind }) => [kind, name] as [string, string]),
  )
}

// What stands in anyOf, oneOf and not says more of fields that are declared elsewhere, and declares none.
function strict(schema: Schema): Schema {
  const { properties, items, additionalProperties, allOf } = schema
  const open = additionalProperties !== undefined || schema['x-kubernetes-preserve-unknown-fields'] === true
  return {
    ...referring(schema),
    ...(allOf === undefined ? {} : { allOf: allOf.map(referring) }),
    ...(items === undefined ? {} : { items: strict(items) }),
    ...(typeof additionalProperties === 'object' ? { additionalProperties: strict(additionalProperties) } : {}),
    ...(properties === undefined ? {} : { properties: mapped(properties, strict) }),
    ...(properties === undefined || open ? {} : { additionalProperties: false }),
  }
}

function referring(schema: Schema): Schema {
  return schema.$ref === undefined ? schema : { ...schema, $ref: schema.$ref.replace('#/components/schemas/', '#/definitions/') }
}

function mapped(schemas: Record<string, Schema>, by: (schema: Schema) => Schema): Record<string, Schema> {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, by(schema)]))
}
