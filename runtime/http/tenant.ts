import type { IncomingMessage } from 'node:http'
import { TenantryError } from '../errors.ts'
import type { Evidence } from '../identity/find-tenant.ts'

/** What an HTTP request says about whose it is. Throws `invalid-request` for a header that stands twice where a reader could take either. */
export function evidenceOf(request: IncomingMessage): Evidence {
  const { headers, rawHeaders } = request
  let [hosts, credentials] = [0, 0]
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const { length } = rawHeaders[index] ?? ''
    if (length === 4 && rawHeaders[index]?.toLowerCase() === 'host') hosts += 1
    else if (length === 13 && rawHeaders[index]?.toLowerCase() === 'authorization') credentials += 1
  }
  if (hosts > 1 || credentials > 1) throw new TenantryError('invalid-request', 'The headers Host and Authorization may stand only once.')
  return {
    apiKey: one(headers['x-api-key']),
    authorization: headers.authorization,
    host: headers.host,
    tenantId: typeof headers['x-tenant-id'] === 'string' ? headers['x-tenant-id'] : undefined,
    socketAddress: request.socket.remoteAddress,
    forwardedHost: one(headers['x-forwarded-host']),
    scopes: one(headers['x-tenant-scopes']),
  }
}

/** A header that was sent empty was not sent. */
function one(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' ? header : undefined
}
