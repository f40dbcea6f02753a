import { hash } from 'node:crypto'
import type { Request, RequestHandler } from 'express'
import { isKnown } from './conditions.ts'
import type { Exchange } from './exchange.ts'
import { type Operation, publicOperation } from './openapi/operation.ts'

/** The document itself. */
export const OPENAPI = publicOperation('OpenApiDocument', '/openapi.json', 'This document', [
  { status: 200, description: 'The OpenAPI 3.1 document of this API.', type: 'application/json', versioned: true },
])

/** Answers with a text that is the same as long as the process lives, and the same for everybody. */
export function serveText({ path }: Operation, type: string, text: string, enter: (request: Request) => Exchange): RequestHandler {
  const etag = `"${hash('sha256', text, 'base64url').slice(0, 22)}"`
  const headers = { etag, 'cache-control': 'public, no-cache' }
  return (request) => {
    const exchange = enter(request)
    exchange.route = path
    if (isKnown(request.headers['if-none-match'], etag)) exchange.replyEmpty(304, headers)
    else exchange.reply(200, { ...headers, 'content-type': type }, text)
  }
}
