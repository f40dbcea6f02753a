import { hash } from 'node:crypto'
import { TenantryError } from '../errors.ts'

/** One list of one tenant, narrowed in one way: what a cursor is good for. */
export type List = { tenantUid: string; name: string; filter: Readonly<Record<string, unknown>> }

/** What every cursor looks like: 16 bytes of id and 8 of seal, in base64url. */
export const CURSOR = /^[A-Za-z0-9_-]{32}$/

/** What a cursor must be. */
export const CURSOR_FAULT = 'must be a nextCursor that this list has given, with the same filter'

/** The list that a query's input asks for: it stays the same one from page to page, whatever the size of a page. */
export function listOf(tenantUid: string, name: string, { cursor: _, limit: __, ...filter }: Record<string, unknown>): List {
  return { tenantUid, name, filter }
}

/** The cursor that goes on behind this id. */
export function cursorBehind(list: List, id: string): string {
  const bytes = Buffer.from(id.replaceAll('-', ''), 'hex')
  return Buffer.concat([bytes, seal(list, bytes)]).toString('base64url')
}

/** The id to go on behind, in hex. Throws `invalid-request` for a cursor of another list, filter or tenant. */
export function idBehind(list: List, cursor: string): string {
  const bytes = Buffer.from(cursor, 'base64url')
  const id = bytes.subarray(0, 16)
  if (seal(list, id).equals(bytes.subarray(16))) return id.toString('hex')
  throw new TenantryError('invalid-request', 'The cursor is none of this list.', { faults: [{ field: 'cursor', message: CURSOR_FAULT }] })
}

/** Binds a place to a list of a tenant: 8 bytes. */
// A digest without a key, so that replicas share no secret and old cursors outlive them: a cursor opens nothing. Whoever makes one up gets
// what the same list of the same tenant shows behind that id, and no row of anybody else: the tenant stands in the query, not in the cursor.
export function seal({ tenantUid, name, filter }: List, place: Buffer): Buffer {
  const narrowed = Object.entries(filter)
    .filter(([, value]) => value !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1))
  return hash('sha256', JSON.stringify([tenantUid, name, narrowed, place.toString('hex')]), 'buffer').subarray(0, 8)
}
