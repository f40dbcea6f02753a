import type { z } from 'zod'
import { type Fault, TenantryError } from '../errors.ts'

/** Path parameters as the router gives them. */
export type PathParameters = Record<string, string | undefined>

/** The longest query string, in characters, and the most that it may name: no list needs a tenth of it. */
const LONGEST_QUERY = 4_096
const MOST_PARAMETERS = 50

/** How deep lists and objects may stand in each other in a body. */
const DEEPEST_BODY = 32

/** Joins path parameters and query string into one object. Throws `invalid-request` for what stands twice or cannot be decoded. */
export function readQuery(url: string, path: PathParameters): Record<string, unknown> {
  const start = url.indexOf('?')
  if (start === -1 || start === url.length - 1) return path
  const text = url.slice(start + 1)
  if (text.length > LONGEST_QUERY)
    throw invalid('query string', [{ field: 'query', message: `must have at most ${LONGEST_QUERY} characters` }])
  const faults: Fault[] = []
  if (/%(?![0-9a-fA-F]{2})/.test(text)) faults.push({ field: 'query', message: 'has a % that is not followed by two hexadecimal digits' })
  const values = new Map<string, string>()
  const parameters = [...new URLSearchParams(text)]
  if (parameters.length > MOST_PARAMETERS) {
    throw invalid('query string', [{ field: 'query', message: `must have at most ${MOST_PARAMETERS} parameters` }])
  }
  for (const [name, value] of parameters) {
    if (values.has(name)) faults.push({ field: name, message: 'may stand only once' })
    else if (Object.hasOwn(path, name)) faults.push({ field: name, message: 'is not known here' })
    values.set(name, value)
  }
  if (faults.length > 0) throw invalid('query string', faults)
  return Object.fromEntries([...Object.entries(path), ...values])
}

/** Joins path parameters and a parsed body into one object. Throws `invalid-request` when the body is no JSON object. */
export function readBody(body: unknown, path: PathParameters): Record<string, unknown> {
  if (body === undefined) return path
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalid('body', [{ field: 'body', message: 'must be a JSON object' }])
  }
  const names = Object.keys(body).filter((name) => Object.hasOwn(path, name) || name === '__proto__')
  if (names.length > 0) {
    throw invalid(
      'body',
      names.map((field) => ({ field, message: 'is not known here' })),
    )
  }
  return { ...body, ...path }
}

/** Throws `invalid-request` for JSON whose lists and objects stand in each other too deep, before anything is made of it. */
export function requireShallow(json: Uint8Array): void {
  let depth = 0
  let quoted = false
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at]
    if (byte === BACKSLASH) at += 1
    else if (byte === QUOTE) quoted = !quoted
    else if (!quoted && (byte === BRACKET || byte === BRACE)) depth += 1
    else if (!quoted && (byte === BRACKET_END || byte === BRACE_END)) depth -= 1
    if (depth > DEEPEST_BODY) throw invalid('body', [{ field: 'body', message: `must not be nested deeper than ${DEEPEST_BODY}` }])
  }
}

const [QUOTE, BACKSLASH, BRACKET, BRACKET_END, BRACE, BRACE_END] = Buffer.from('"\\[]{}')

/** Parses strictly. Throws `invalid-request` that names every field at fault. */
export function parse<T>(schema: z.ZodType<T>, input: Record<string, unknown>): T {
  const parsed = schema.safeParse(input, { error: ({ input }) => (input === undefined ? 'is required' : undefined) })
  if (parsed.success) return parsed.data
  throw invalid('input', parsed.error.issues.flatMap(faultsOf))
}

function faultsOf(issue: z.core.$ZodIssue): Fault[] {
  const path = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: [...path, key].join('.'), message: 'is not known here' }))
  }
  return [{ field: path.join('.') || 'body', message: issue.message }]
}

function invalid(what: string, faults: readonly Fault[]): TenantryError {
  return new TenantryError('invalid-request', `The ${what} is not valid; see errors.`, { faults })
}
