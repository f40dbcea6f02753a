type Schema = {
  $ref?: string
  type?: string | string[]
  const?: unknown
  enum?: unknown[]
  anyOf?: Schema[]
  items?: Schema
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
}

type Parameter = { $ref?: string; name: string; in: string; required?: boolean; schema: Schema }

type Operation = {
  summary: string
  parameters: Parameter[]
  requestBody?: { required: boolean; content: Record<string, { schema: Schema }> }
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>
}

/** What the types are made of. */
export type Document = {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema>; parameters: Record<string, Parameter> }
}

const PROBLEM = 'application/problem+json'

const HEAD = `// The types of the API, made of its own document by \`make client\`; \`make check\` fails when they are not of the API as it is.
`

/** TypeScript types of a document: one for each named schema, and \`paths\`, which is what openapi-fetch goes by. */
export function clientTypes({ paths, components }: Document): string {
  const shapes = Object.entries(components.schemas).map(([name, schema]) => `export type ${name} = ${typeOf(schema)}\n`)
  const offered = Object.entries(paths).map(([path, methods]) => {
    const operations = Object.entries(methods).map(([method, operation]) => describe(method, operation, components))
    return `  '${path}': {\n${operations.join('')}  }\n`
  })
  return `${HEAD}\n${shapes.join('\n')}\nexport type paths = {\n${offered.join('')}}\n`
}

function describe(
  method: string,
  { summary, parameters, requestBody, responses }: Operation,
  { parameters: shared }: Document['components'],
): string {
  const all = parameters.flatMap((parameter) => (parameter.$ref === undefined ? parameter : (shared[nameOf(parameter.$ref)] ?? [])))
  const body = requestBody === undefined ? '' : ` requestBody${requestBody.required ? '' : '?'}: ${contentOf(requestBody)};`
  const answers = Object.entries(responses).filter(
    ([, { content }]) => content?.['application/json'] !== undefined || content?.[PROBLEM] === undefined,
  )
  const own = answers.map(([status, response]) => `${status}: ${contentOf(response)}`)
  return `    /** ${summary}. */\n    ${method}: { parameters: ${parametersOf(all)};${body} responses: { ${own.join('; ')}; default: ${contentOf({ content: { [PROBLEM]: { schema: { $ref: 'Problem' } } } })} } }\n`
}

function parametersOf(parameters: readonly Parameter[]): string {
  const places = ['path', 'query', 'header'].flatMap((place) => {
    const here = parameters.filter((parameter) => parameter.in === place)
    if (here.length === 0) return []
    const optional = here.some(({ required }) => required === true) ? '' : '?'
    return `${place}${optional}: { ${here.map(({ name, required, schema }) => property(name, schema, required === true)).join('; ')} }`
  })
  return `{ ${places.join('; ')} }`
}

function contentOf({ content }: { content?: Record<string, { schema: Schema }> }): string {
  if (content === undefined) return '{ content?: never }'
  return `{ content: { ${Object.entries(content)
    .map(([type, { schema }]) => `'${type}': ${typeOf(schema)}`)
    .join('; ')} } }`
}

function typeOf(schema: Schema): string {
  const { $ref, anyOf, type, items } = schema
  if ($ref !== undefined) return nameOf($ref)
  if (anyOf !== undefined) return anyOf.map(typeOf).join(' | ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (Array.isArray(type)) return type.map((one) => typeOf({ ...schema, type: one })).join(' | ')
  if (type === 'array') return `(${typeOf(items ?? {})})[]`
  if (type === 'object') return objectOf(schema)
  return PLAIN[type ?? ''] ?? 'unknown'
}

const PLAIN: Record<string, string> = { string: 'string', integer: 'number', number: 'number', boolean: 'boolean', null: 'null' }

function objectOf({ properties = {}, required = [], additionalProperties }: Schema): string {
  const names = Object.entries(properties)
  if (names.length > 0) return `{ ${names.map(([name, schema]) => property(name, schema, required.includes(name))).join('; ')} }`
  return `Record<string, ${typeof additionalProperties === 'object' ? typeOf(additionalProperties) : 'unknown'}>`
}

function property(name: string, schema: Schema, required: boolean): string {
  return `${/^\w+$/.test(name) ? name : `'${name}'`}${required ? '' : '?'}: ${typeOf(schema)}`
}

function nameOf($ref: string): string {
  return $ref.slice($ref.lastIndexOf('/') + 1)
}
