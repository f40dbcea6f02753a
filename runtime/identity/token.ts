/** A bearer token as it was sent: what it says, of which nothing is verified yet. */
export type ReadToken = { tenantId: string; expiresAt: number; caller: string; scopes: readonly unknown[] }

/** The longest token that is looked at, in characters. */
const LONGEST_TOKEN = 8_192

const TOKEN = /^([\w-]+)\.([\w-]+)\.[\w-]+$/
const TYPES = new Set(['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'])

// Keys that a token brings along or points at prove nothing; what must be understood to be safe, we do not understand.
const REFUSED = ['jku', 'jwk', 'x5u', 'x5c', 'crit', 'zip'] as const

/**
 * Reads a signed token (JWS, compact) strictly; undefined: it is none that could ever be accepted, whoever has signed it. Times are in
 * milliseconds since 1970.
 */
export function readToken(token: string): ReadToken | undefined {
  const parts = token.length > LONGEST_TOKEN ? null : TOKEN.exec(token)
  const header = parts && readPart(parts[1] ?? '')
  const claims = parts && readPart(parts[2] ?? '')
  if (!header || !claims || !isPlain(header)) return undefined
  const { tenant_id: tenantId, exp, sub } = claims
  if (typeof tenantId !== 'string' || typeof exp !== 'number' || !Number.isFinite(exp) || !isSubject(sub)) return undefined
  const caller = sub === undefined ? 'jwt' : `jwt:${sub}`
  return { tenantId, expiresAt: exp * 1_000, caller, scopes: wordsOf(claims.scope ?? claims.scp) }
}

type Fields = Record<string, unknown>

function isPlain({ typ, kid, ...header }: Fields): boolean {
  if (typ !== undefined && !(typeof typ === 'string' && TYPES.has(typ.toLowerCase()))) return false
  if (kid !== undefined && !(typeof kid === 'string' && kid.length <= 256)) return false
  return REFUSED.every((name) => header[name] === undefined)
}

/** A subject becomes part of records and logs; a token may name nobody. */
function isSubject(sub: unknown): sub is string | undefined {
  if (sub === undefined) return true
  return typeof sub === 'string' && sub.length > 0 && sub.length <= 255 && sub.isWellFormed() && !/\p{Cc}/u.test(sub)
}

function wordsOf(claim: unknown): readonly unknown[] {
  if (typeof claim === 'string') return claim.split(' ')
  return Array.isArray(claim) ? claim : []
}

function readPart(part: string): Fields | undefined {
  try {
    const text = Buffer.from(part, 'base64url').toString('utf8')
    const value: unknown = JSON.parse(text)
    return isFields(value) && membersIn(text) === membersOf(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// JSON.parse keeps the last of two members with one name, another reader the first: such a token says two things at once.
function membersIn(text: string): number {
  return text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '').split(':').length - 1
}

function membersOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const nested = Object.values(value).reduce((sum: number, one) => sum + membersOf(one), 0)
  return nested + (Array.isArray(value) ? 0 : Object.keys(value).length)
}
