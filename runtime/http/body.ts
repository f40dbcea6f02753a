import type { IncomingMessage } from 'node:http'
import bodyParser from 'body-parser'
import { TenantryError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { requireShallow } from './input.ts'

/** Reads the body of a request as JSON; undefined: it has none. Throws what body-parser throws, and TenantryError. */
export type ReadJson = (exchange: Exchange) => Promise<unknown>

/** Reads bodies of at most so many bytes, unpacked. */
export function createReadJson(limit: number): ReadJson {
  const parse = bodyParser.json({ limit, type: () => true, verify: requireReadable })
  return ({ request, response }) =>
    new Promise((resolve, reject) => {
      parse(request, response, (error?: unknown) => (error === undefined ? resolve(bodyOf(request)) : reject(error)))
    })
}

function bodyOf(request: IncomingMessage & { body?: unknown }): unknown {
  return request.body
}

/** Looks at a body before anything is made of it. */
function requireReadable(_request: unknown, _response: unknown, body: Buffer, charset: string): void {
  if (charset !== 'utf-8') throw new TenantryError('unsupported-media-type', 'Send the body as JSON in UTF-8.')
  requireShallow(body)
}
