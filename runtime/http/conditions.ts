import { TenantryError } from '../errors.ts'

const ENTITY_TAG = /^(W\/)?"([\x21\x23-\x7e]*)"$/

/** The strong entity tag of a version. */
export function entityTag(version: number): string {
  return `"${version}"`
}

/**
 * The version that `If-Match` asks for; undefined: any. A weak tag, or one that is not of ours, matches nothing
 * (RFC 9110, 13.1.1): `precondition-failed`. Throws `invalid-request` when the header is not one entity tag or `*`.
 */
export function expectedVersion(header: string | undefined): number | undefined {
  if (header === undefined || header.trim() === '*') return undefined
  const tag = ENTITY_TAG.exec(header.trim())
  if (tag === null) throw malformed('if-match', 'must be one entity tag such as "3", or *')
  const version = tag[1] === undefined && /^[1-9]\d{0,14}$/.test(tag[2] ?? '') ? Number(tag[2]) : undefined
  if (version === undefined) throw new TenantryError('precondition-failed', 'The entity tag in If-Match is none of this resource.')
  return version
}

/** True when `If-None-Match` names this version, compared weakly (RFC 9110, 13.1.2). Throws `invalid-request` when it cannot be read. */
export function isKnown(header: string | undefined, version: number): boolean {
  if (header === undefined) return false
  if (header.trim() === '*') return true
  const tags = header.split(',').map((part) => ENTITY_TAG.exec(part.trim()))
  if (tags.includes(null)) throw malformed('if-none-match', 'must be entity tags such as "3", or *')
  return tags.some((tag) => tag?.[2] === String(version))
}

function malformed(field: string, message: string): TenantryError {
  return new TenantryError('invalid-request', `The header ${field} cannot be read.`, { faults: [{ field, message }] })
}
