import { ERRORS, type ErrorCode } from '../../errors.ts'
import { PROBLEM_TYPES, problemType } from '../problem-types.ts'
import { type Problem, problemSchema } from '../problems.ts'
import type { Answer, Operation } from './operation.ts'
import { schemaRef } from './schemas.ts'

type Response = { description: string; headers?: Record<string, object>; content?: Record<string, { schema: object; examples?: object }> }

/** A kind of problem as one status answers it: what node's parser refuses has closer statuses than 400. */
type Refusal = { name: string; code: ErrorCode; status: number; detail: string }

const CODES = Object.keys(ERRORS) as ErrorCode[]

const REFUSALS: readonly Refusal[] = [
  ...CODES.map((code) => ({ name: code, code, status: ERRORS[code], detail: PROBLEM_TYPES[code].detail })),
  { name: 'request-timeout', code: 'invalid-request', status: 408, detail: 'The request was sent too slowly.' },
  { name: 'headers-too-large', code: 'invalid-request', status: 431, detail: 'The headers are too large.' },
]

const HEADERS = {
  etag: { description: 'The version, as a strong entity tag.', required: true, schema: { type: 'string', pattern: '^"[^"]+"$' } },
  location: { description: 'Where it is found from now on.', required: true, schema: { type: 'string', format: 'uri-reference' } },
  rateLimit: {
    description:
      'What is left of the tenant\'s requests, and in how many seconds all of them are there again, such as `"default";r=180;t=1`. None without a limit.',
    required: false,
    schema: { type: 'string' },
  },
  policy: {
    description: 'How many requests the tenant may send in how many seconds, such as `"default";q=200;w=2`. None without a limit.',
    required: false,
    schema: { type: 'string' },
  },
  challenge: {
    description:
      'How to prove who calls. Of a bearer token that was refused with `error="invalid_token"`, of one that may not do this with `error="insufficient_scope"` and the `scope` that it lacks (RFC 6750).',
    required: true,
    schema: { type: 'string', pattern: '^(ApiKey header="X-API-Key", )?Bearer( error="[a-z_]+"(, scope="[a-z:]+")?)?$' },
  },
  retryAfter: { description: 'Seconds after which trying again makes sense.', required: true, schema: { type: 'integer', minimum: 1 } },
} as const

/** Every answer of an operation by its status: what it is for, and every problem that it may meet. */
export function responsesOf(operation: Operation): Record<string, Response> {
  const responses: Record<string, Response> = {}
  for (const answer of operation.answers) responses[answer.status] = responseOf(answer)
  if (!operation.isCommand && operation.answers.some(({ versioned }) => versioned === true)) {
    responses[304] = { description: 'Still the version that If-None-Match names.', headers: { ETag: HEADERS.etag } }
  }
  for (const refusal of REFUSALS) {
    if (PROBLEM_TYPES[refusal.code].on(operation)) addRefusal(responses, refusal)
  }
  return responses
}

function responseOf({ status, description, type, schema, versioned }: Answer): Response {
  const headers = {
    ...(versioned === true ? { ETag: HEADERS.etag } : {}),
    ...(status === 201 ? { Location: HEADERS.location } : {}),
    ...(status === 503 ? { 'Retry-After': HEADERS.retryAfter } : {}),
  }
  return {
    description,
    ...(Object.keys(headers).length > 0 ? { headers } : {}),
    ...(type === undefined
      ? {}
      : {
          content: {
            [type]: { schema: schema === undefined ? { type: type.startsWith('text/') ? 'string' : 'object' } : schemaRef(schema) },
          },
        }),
  }
}

function headersOf(status: number, known: Response['headers']): Pick<Response, 'headers'> {
  if (status === 503) return { headers: { 'Retry-After': HEADERS.retryAfter } }
  if (status === 429)
    return { headers: { 'Retry-After': HEADERS.retryAfter, RateLimit: HEADERS.rateLimit, 'RateLimit-Policy': HEADERS.policy } }
  if (status === 401) return { headers: { 'WWW-Authenticate': HEADERS.challenge } }
  // Not where the tenant is suspended.
  if (status === 403) return { headers: { 'WWW-Authenticate': { ...HEADERS.challenge, required: false } } }
  return known === undefined ? {} : { headers: known }
}

function addRefusal(responses: Record<string, Response>, { name, code, status }: Refusal): void {
  const { description, headers, content } = responses[status] ?? { description: PROBLEM_TYPES[code].title }
  const known = content?.['application/problem+json']
  responses[status] = {
    description,
    ...headersOf(status, headers),
    content: {
      ...content,
      'application/problem+json': {
        schema: schemaRef(problemSchema),
        examples: { ...known?.examples, [name]: { $ref: `#/components/examples/${name}` } },
      },
    },
  }
}

/** An example of every problem, by the name that the answers refer to. */
export function problemExamples(): Record<string, { summary: string; value: Problem }> {
  return Object.fromEntries(
    REFUSALS.map(({ name, code, status, detail }) => {
      const { title } = PROBLEM_TYPES[code]
      const value = { type: problemType(code), title, status, detail, requestId: '0d8f8d5e-6a0c-4c0b-9d53-0f6a5bb1c7a2' }
      return [name, { summary: title, value: name === 'invalid-request' ? { ...value, errors: [FAULT] } : value }]
    }),
  )
}

const FAULT = { field: 'title', message: 'must have at most 200 characters' }
