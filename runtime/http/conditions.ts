import type { IncomingHttpHeaders } from 'node:http'
import { TenantryError } from '../errors.ts'

// What stands between commas, which may also stand in a tag itself (RFC 9110, 8.8.3).
const MEMBER = /(?:[^,"]|"[^"]*(?:"|$))+/g
const ENTITY_TAG = /^(W\/)?("[\x21\x23-\x7e\x80-\xff]*")$/

/** The entity tags of a conditional header, or `*`: whatever is there. */
type EntityTags = '*' | readonly { weak: boolean; tag: string }[]

/** The strong entity tag of a version. */
export function entityTag(version: number): string {
  return `"${version}"`
}

/** True when `If-None-Match` names this tag, compared weakly (RFC 9110, 13.1.2). Throws `invalid-request` when it cannot be read. */
export function isKnown(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  const tags = entityTags('if-none-match', header)
  return tags === '*' || tags.some(({ tag }) => tag === etag)
}

/**
 * Which versions the conditions of a command let it change, by `If-Match`, compared strongly, and `If-None-Match`; undefined: any. A tag that
 * is not of ours names no version. Throws `invalid-request` when one of them cannot be read.
 */
export function acceptedVersions(headers: IncomingHttpHeaders): ((version: number) => boolean) | undefined {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined
  const wanted = ifMatch === undefined ? '*' : entityTags('if-match', ifMatch)
  if (ifNoneMatch !== undefined) entityTags('if-none-match', ifNoneMatch)
  return (version) => {
    const etag = entityTag(version)
    return (wanted === '*' || wanted.some(({ weak, tag }) => !weak && tag === etag)) && !isKnown(ifNoneMatch, etag)
  }
}

function entityTags(field: string, header: string): EntityTags {
  if (header.trim() === '*') return '*'
  const members = (header.match(MEMBER) ?? []).map((member) => member.trim()).filter((member) => member !== '')
  const read = members.flatMap((member) => {
    const [, weak, tag] = ENTITY_TAG.exec(member) ?? []
    return tag === undefined ? [] : [{ weak: weak !== undefined, tag }]
  })
  if (read.length === 0 || read.length < members.length) {
    throw new TenantryError('invalid-request', `The header ${field} cannot be read.`, {
      faults: [{ field, message: 'must be entity tags such as "3", or *' }],
    })
  }
  return read
}
