import { Ajv2020 } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'

/** What was sent, and what came back: header names in lower case, `body` undefined for a stream that was not read to its end. */
export type Exchanged = { method: string; path: string; status: number; headers: Record<string, string>; body: string | undefined }

type Response = { headers?: Record<string, { schema: object; required?: boolean }>; content?: Record<string, { examples?: object }> }
type Operation = { operationId: string; security: object[]; responses: Record<string, Response> }
type Document = { paths: Record<string, Record<string, Operation>>; components: { examples: Record<string, { value: { type: string } }> } }

/** A document that answers are held to. */
export type Contract = {
  document: Document
  /** What is wrong with an answer, a line for each fault. */
  faultsOf: (exchanged: Exchanged) => string[]
  /** Every problem that an operation has answered with so far, as `GetTask 404 not-found`. */
  met: Set<string>
}

const PROBLEM = 'application/problem+json'
/** What answers at any path: nothing there, not allowed, and what is refused before anybody looks at the path. */
const UNDOCUMENTED = [400, 404, 405, 408, 431]
const LEAK = /\bselect\b.+\bfrom\b|\binsert into\b|\bt_[0-9a-f]{8}|\.ts:\d|node_modules|\bat \w+ \(|postgres|tenantry\.head/i

const contracts = new Map<string, Contract>()

/** From now on answers of this runtime are held to its own document. */
export async function holdToContract(url: string): Promise<Contract> {
  const contract = readContract(await (await fetch(`${url}/openapi.json`)).text())
  contracts.set(new URL(url).origin, contract)
  return contract
}

/** The document that answers from there are held to; undefined: it is no runtime. */
export function contractOf(url: string | URL): Contract | undefined {
  return contracts.get(new URL(url).origin)
}

/** Reads an OpenAPI document. */
export function readContract(text: string): Contract {
  const document: Document = JSON.parse(text)
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ajvFormats.default(ajv)
  ajv.addSchema(document, 'openapi')
  const met = new Set<string>()
  const validate: Validate = (pointer, body) => {
    const schema = ajv.getSchema(`openapi#${pointer}`)
    if (schema === undefined) return [`no schema at ${pointer}`]
    return schema(body) ? [] : [ajv.errorsText(schema.errors)]
  }
  const documented = (exchanged: Exchanged, { operation, pointer }: Found & { operation: Operation }): string[] => {
    const { status, headers, body } = exchanged
    const response = operation.responses[status]
    if (response === undefined) return [`${operation.operationId} does not answer ${status}`]
    if (typeOf(exchanged) === PROBLEM) met.add(`${operation.operationId} ${status} ${codeOf(body)}`)
    return [
      ...headerFaults(response, headers, ajv),
      ...bodyFaults(exchanged, response, `${pointer}/responses/${status}/content`, validate),
      ...(typeOf(exchanged) === PROBLEM && body !== '' ? problemFaults(exchanged, document, response) : []),
    ]
  }
  return {
    document,
    met,
    faultsOf: (exchanged) => {
      const found = find(document, exchanged)
      const operation = found?.operation
      const own =
        found === undefined || operation === undefined
          ? elsewhere(exchanged, found !== undefined, validate)
          : documented(exchanged, { ...found, operation })
      return [...own, ...hygiene(exchanged, operation?.security.length === 0)]
    },
  }
}

type Validate = (pointer: string, body: unknown) => string[]
/** The path that the document has for it, and what it says of the method, if anything. */
type Found = { pointer: string; operation: Operation | undefined }

function find({ paths }: Document, { method, path }: Exchanged): Found | undefined {
  const template = templateOf(Object.keys(paths), path)
  if (template === undefined) return undefined
  const name = method === 'HEAD' ? 'get' : method.toLowerCase()
  return { pointer: `/paths/${escaped(template)}/${name}`, operation: paths[template]?.[name] }
}

function bodyFaults(exchanged: Exchanged, { content }: Response, pointer: string, validate: Validate): string[] {
  const { method, body } = exchanged
  const type = typeOf(exchanged)
  if (method === 'HEAD' || body === undefined) return []
  if (content === undefined) return body === '' ? [] : ['has a body where there should be none']
  if (content[type] === undefined) return [`does not answer ${type || 'nothing'} here`]
  const faultsOf = (part: unknown) => validate(`${pointer}/${escaped(type)}/schema`, part)
  if (/ndjson$/.test(type))
    return body
      .trimEnd()
      .split('\n')
      .flatMap((line) => faultsOf(JSON.parse(line)))
  return faultsOf(/json$/.test(type) ? JSON.parse(body) : body)
}

/** Every problem that the document says its operations may meet, as in `met`. */
export function problemsOf({ document: { paths, components } }: Contract): string[] {
  return Object.values(paths)
    .flatMap(Object.values<Operation>)
    .flatMap(({ operationId, responses }) =>
      Object.entries(responses).flatMap(([status, { content }]) =>
        Object.keys(content?.[PROBLEM]?.examples ?? {}).map(
          (name) => `${operationId} ${status} ${components.examples[name]?.value.type.split('/').at(-1)}`,
        ),
      ),
    )
}

function templateOf(templates: string[], path: string): string | undefined {
  const pathname = path.split('?')[0] ?? ''
  const matches = (template: string) => new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(pathname)
  return templates.find((template) => template === pathname) ?? templates.find(matches)
}

function escaped(part: string): string {
  return encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))
}

function typeOf({ headers }: Exchanged): string {
  return headers['content-type']?.split(';')[0] ?? ''
}

function elsewhere({ method, status, headers, body }: Exchanged, known: boolean, validate: Validate) {
  if (known && method === 'OPTIONS' && status === 204) return headers.allow === undefined ? ['OPTIONS does not tell what is allowed'] : []
  if (!UNDOCUMENTED.includes(status)) return [`${status} where the document has nothing`]
  if (status === 405 && headers.allow === undefined) return ['405 does not tell what is allowed']
  if (headers['content-type'] !== PROBLEM) return [`${status} is no problem document`]
  return method === 'HEAD' ? [] : validate('/components/schemas/Problem', JSON.parse(body ?? ''))
}

function headerFaults({ headers: declared = {} }: Response, headers: Record<string, string>, ajv: Ajv2020): string[] {
  return Object.entries(declared).flatMap(([name, { schema, required }]) => {
    const value = headers[name.toLowerCase()]
    if (value === undefined) return required === false ? [] : [`${name} is missing`]
    const typed = 'type' in schema && schema.type === 'integer' ? Number(value) : value
    return ajv.validate(schema, typed) ? [] : [`${name}: ${ajv.errorsText()}`]
  })
}

function problemFaults({ status, headers, body = '' }: Exchanged, { components }: Document, { content }: Response): string[] {
  const problem: { type: string; status: number; requestId: string } = JSON.parse(body)
  const known = Object.keys(content?.[PROBLEM]?.examples ?? {}).map((name) => components.examples[name]?.value.type)
  return [
    ...(known.includes(problem.type) ? [] : [`${problem.type} is none of the problems it may meet`]),
    ...(problem.status === status ? [] : [`status ${problem.status} in the body`]),
    ...(headers['x-request-id'] === undefined || problem.requestId === headers['x-request-id'] ? [] : ['another request id in the body']),
    ...(LEAK.test(body) ? [`tells of our insides: ${body}`] : []),
  ]
}

const ALWAYS: Record<string, RegExp> = {
  'cache-control': /^private, no-(store|cache)$/,
  'content-security-policy': /^default-src 'none'; frame-ancestors 'none'/,
  'referrer-policy': /^no-referrer$/,
  'x-content-type-options': /^nosniff$/,
}

/** What holds for every answer, whatever it is (HT-09): only what is no tenant's may be kept by shared caches, and what may be kept at all says by whom. */
function hygiene({ headers }: Exchanged, isPublic: boolean): string[] {
  const kept = headers['cache-control'] === 'private, no-cache'
  return [
    ...Object.entries(ALWAYS)
      .filter(([name, value]) => !value.test(headers[name] ?? '') && !(isPublic && name === 'cache-control'))
      .map(([name]) => `${name}: ${headers[name]}`),
    ...(kept && (headers.etag === undefined || headers.vary === undefined) ? ['may be kept, but cannot be asked for again'] : []),
    ...['x-powered-by', 'server'].filter((name) => headers[name] !== undefined),
  ]
}

function codeOf(body: string | undefined): string | undefined {
  if (body === undefined || body === '') return undefined
  const { type }: { type: string } = JSON.parse(body)
  return type.split('/').at(-1)
}
