import { TenantryError } from '../../errors.ts'
import { seal } from '../cursor.ts'

/** Where an export stands: behind the row of that key, of what goes by that name. */
export type Place = { name: string; key: string }

const SEAL_BYTES = 8

/** What to go on with behind a line, as its caller sends it back. */
export function tokenOf(tenantUid: string, { name, key }: Place): string {
  const bytes = Buffer.from(`${name} ${key}`)
  return Buffer.concat([sealOf(tenantUid, bytes), bytes]).toString('base64url')
}

/** The place that a token names. Throws `invalid-request` when no export of this tenant has given it. */
export function placeOf(tenantUid: string, token: string): Place {
  const all = Buffer.from(token, 'base64url')
  const bytes = all.subarray(SEAL_BYTES)
  const [name = '', key = ''] = bytes.toString().split(' ')
  if (sealOf(tenantUid, bytes).equals(all.subarray(0, SEAL_BYTES))) return { name, key }
  throw new TenantryError('invalid-request', 'There is no such place in the export.', {
    faults: [{ field: 'after', message: 'must be the `after` of a line that an export of this tenant has given' }],
  })
}

function sealOf(tenantUid: string, bytes: Buffer): Buffer {
  return seal({ tenantUid, name: 'export', filter: {} }, bytes)
}
