import { hash } from 'node:crypto'
import { z } from 'zod'
import { TenantryError } from '../errors.ts'
import { isKnown } from './conditions.ts'
import { PAGE_POLICY } from './docs/layout.ts'
import { problemPages } from './docs/problem-page.ts'
import { referencePage } from './docs/reference.ts'
import type { PathParameters } from './input.ts'
import { describe } from './openapi/document.ts'
import { type Answer, type Endpoint, type Handler, type Operation, publicOperation } from './openapi/operation.ts'
import { PROBLEM_TYPES, problemType } from './problem-types.ts'

const PAGE: Answer = { status: 200, description: 'A page for people.', type: 'text/html', versioned: true }

const OPENAPI = publicOperation('OpenApiDocument', '/openapi.json', 'This document', [
  { status: 200, description: 'The OpenAPI 3.1 document of this API.', type: 'application/json', versioned: true },
])
const DOCS = publicOperation('Docs', '/docs', 'What the document says, for people', [PAGE])
const PROBLEM = publicOperation(
  'ProblemPage',
  problemType('{code}'),
  'What a kind of problem means, and what to do',
  [PAGE],
  z.strictObject({ code: z.enum(Object.keys(PROBLEM_TYPES)) }),
)

/** What the API says of itself: the OpenAPI document of all operations, and the same as pages. Made once; needs no tenant. */
export function selfDescription(others: readonly Operation[]): Endpoint[] {
  const operations = [...others, OPENAPI, DOCS, PROBLEM]
  const document = describe(operations)
  const openapi = textOf('application/json', JSON.stringify(document))
  const docs = pageOf(referencePage(operations, document))
  const problems = new Map([...problemPages(operations)].map(([code, page]) => [code, pageOf(page)]))
  return [
    { operation: OPENAPI, handle: serve(() => openapi) },
    { operation: DOCS, handle: serve(() => docs) },
    { operation: PROBLEM, handle: serve(({ code }) => problems.get(String(code))) },
  ]
}

/** A text that is the same as long as the process lives, and the same for everybody. */
type Text = { text: string; headers: Record<string, string> }

function textOf(type: string, text: string): Text {
  const etag = `"${hash('sha256', text, 'base64url').slice(0, 22)}"`
  return { text, headers: { 'content-type': type, 'cache-control': 'public, no-cache', etag } }
}

function pageOf(markup: string): Text {
  const { text, headers } = textOf('text/html; charset=utf-8', markup)
  return { text, headers: { ...headers, 'content-security-policy': PAGE_POLICY } }
}

function serve(find: (parameters: PathParameters) => Text | undefined): Handler {
  return (exchange, parameters) => {
    const found = find(parameters)
    if (found === undefined) throw new TenantryError('not-found', 'There is nothing at this path.')
    const { text, headers } = found
    if (isKnown(exchange.request.headers['if-none-match'], headers.etag ?? '')) exchange.replyEmpty(304, headers)
    else exchange.reply(200, headers, text)
  }
}
