import { problemSchema } from '../problems.ts'
import { type Operation, pathParameters } from './operation.ts'
import { problemExamples, responsesOf } from './responses.ts'
import { componentSchemas, inputSchema, type JsonSchema } from './schemas.ts'

/** An OpenAPI 3.1 document, as it is made here. */
export type OpenApiDocument = ReturnType<typeof describe>

type Parameter = { name: string; in: 'path' | 'query' | 'header'; required?: boolean; description?: string; schema: JsonSchema }

/** The OpenAPI 3.1 document of these operations: parameters, bodies and answers come of the very schemas that parse and are answered. */
export function describe(operations: readonly Operation[]) {
  const outputs = operations.flatMap(({ answers }) => answers.flatMap(({ schema }) => schema ?? []))
  return {
    openapi: '3.1.1',
    info: {
      title: 'Tenantry',
      version: '1',
      description:
        'One API for every tenant; the credential says which. Errors are problem documents (RFC 9457), whose `type` is the address of a page that says what to do.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths: pathsOf(operations),
    components: {
      schemas: componentSchemas([problemSchema, ...outputs]),
      examples: problemExamples(),
      parameters: { TenantId: TENANT_ID },
      securitySchemes: SECURITY,
    },
  }
}

const SECURITY = {
  apiKey: {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: "A key out of the Tenant's spec.apiKeys; its Secret holds the token.",
  },
  bearer: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: "A token of the tenant's own identity provider, the Tenant's spec.jwt; its claim tenant_id is the tenant's name.",
  },
} as const

const TENANT_ID = {
  name: 'X-Tenant-ID',
  in: 'header',
  description: 'The tenant that the caller means. It only narrows: one that is not of the credential is refused.',
  schema: { type: 'string' },
} as const

function pathsOf(operations: readonly Operation[]) {
  const paths: Record<string, Record<string, ReturnType<typeof describeOperation>>> = {}
  for (const operation of operations) paths[operation.path] = { ...paths[operation.path], [operation.method]: describeOperation(operation) }
  return paths
}

function describeOperation(operation: Operation) {
  const input = inputSchema(operation)
  const inPath = pathParameters(operation.path)
  const others = Object.keys(input.properties).filter((name) => !inPath.includes(name))
  const parameters = [
    ...inPath.map((name) => parameter(name, 'path', input)),
    ...(operation.isCommand ? [] : others.map((name) => parameter(name, 'query', input))),
    ...conditions(operation),
    ...(operation.isCommand ? [IDEMPOTENCY_KEY] : []),
  ]
  return {
    operationId: operation.id,
    summary: operation.summary,
    tags: [operation.tag],
    security: securityOf(operation),
    parameters: [...parameters, ...(operation.access !== 'public' ? [{ $ref: '#/components/parameters/TenantId' }] : [])],
    ...(operation.isCommand && others.length > 0 ? { requestBody: bodyOf(input, others) } : {}),
    responses: responsesOf(operation),
  }
}

function securityOf({ access }: Operation): Record<string, string[]>[] {
  if (access === 'public') return []
  return Object.keys(SECURITY).map((scheme) => ({ [scheme]: access === 'any' ? [] : [access] }))
}

type Input = ReturnType<typeof inputSchema>

function parameter(name: string, place: 'path' | 'query', { properties, required }: Input): Parameter {
  const { description, ...schema }: JsonSchema = properties[name] ?? {}
  return { name, in: place, required: required.includes(name), ...(description === undefined ? {} : { description }), schema }
}

function bodyOf(input: Input, names: readonly string[]) {
  const { properties, required, description: _, ...rest } = input
  const schema = {
    ...rest,
    properties: Object.fromEntries(Object.entries(properties).filter(([name]) => names.includes(name))),
    required: required.filter((name) => names.includes(name)),
  }
  return { required: schema.required.length > 0, content: { 'application/json': { schema } } }
}

const ENTITY_TAGS = '^(\\*|(W/)?"[!#-~]*"([ ]*,[ ]*(W/)?"[!#-~]*")*)$'

/** The conditional headers (RFC 9110, 13.1) that mean something here: commands on something that is there, and answers with an `ETag`. */
function conditions({ isCommand, path, answers }: Operation): Parameter[] {
  const ifMatch = header('If-Match', 'Do it only to one of these versions: entity tags, or *. Otherwise 412.', ENTITY_TAGS)
  if (isCommand) return path.includes('{') ? [ifMatch] : []
  return answers.some(({ versioned }) => versioned === true)
    ? [header('If-None-Match', 'Answer 304 when it still is one of these versions.', ENTITY_TAGS)]
    : []
}

const IDEMPOTENCY_KEY = header(
  'Idempotency-Key',
  'Names this request among those of the same credential, such as "8e03978e-40d5-43dd-bc93-6894a57f9324", with or without the quotes. Sent again within 24 hours it has no second effect, and gets the same answer.',
  '^("[ !#-\\[\\]-~]{1,255}"|[!#-\\[\\]-~]{1,255})$',
)

function header(name: string, description: string, pattern?: string): Parameter {
  return { name, in: 'header', description, schema: { type: 'string', ...(pattern === undefined ? {} : { pattern }) } }
}
