import { createHash } from 'node:crypto'
import type { ReadRows } from '../../queries/stream.ts'
import type { Statement } from '../../shards/statement.ts'
import type { TenantContext } from '../../tenancy/context.ts'
import type { Exported } from '../exported.ts'
import { type Place, placeOf, tokenOf } from './token.ts'

const PAGE = 250

/**
 * Everything of a tenant as lines of JSON, a page at a time: the tenant and where its history stood, then what is exported in its order, and at
 * last how many lines there were and the SHA-256 of all before it. Each full page ends with such a checksum too, so that what arrived of an
 * answer that is broken off can be vouched for up to there. No transaction is held: each page is as the tenant was when it was read.
 */
export async function* exportLines(exported: readonly Exported[], tenant: TenantContext, after: string | undefined, read: ReadRows) {
  const digest = createHash('sha256')
  const counts = new Map(exported.map(({ name }) => [name, 0]))
  const noted = (text: string): string => {
    digest.update(text)
    return text
  }
  const start = after === undefined ? undefined : placeOf(tenant.uid, after)
  if (start === undefined) yield noted(await firstLine(tenant, read))
  for (const one of from(exported, start)) {
    for await (const { lines, after } of pagesOf(one, tenant.uid, one.name === start?.name ? start.key : undefined, read)) {
      counts.set(one.name, (counts.get(one.name) ?? 0) + lines.length)
      yield noted(lines.join(''))
      if (lines.length === PAGE) yield noted(`${JSON.stringify({ kind: 'mark', after, sha256: digest.copy().digest('hex') })}\n`)
    }
  }
  yield `${JSON.stringify({ kind: 'end', counts: Object.fromEntries(counts), sha256: digest.digest('hex') })}\n`
}

/** What is left to export from a place on. */
function from(exported: readonly Exported[], start: Place | undefined): readonly Exported[] {
  const index = exported.findIndex(({ name }) => name === start?.name)
  return index === -1 ? exported : exported.slice(index)
}

async function* pagesOf({ name, page, read: readRow }: Exported, uid: string, start: string | undefined, read: ReadRows) {
  let after = start
  for (;;) {
    const rows = (await read(page(uid, after, PAGE))).map((row) => readRow(row, uid))
    const tokens = rows.map(({ key }) => tokenOf(uid, { name, key }))
    if (rows.length > 0)
      yield { lines: rows.map(({ body }, at) => `{"kind":"${name}","after":"${tokens[at]}","data":${body}}\n`), after: tokens.at(-1) }
    if (rows.length < PAGE) return
    after = rows.at(-1)?.key
  }
}

async function firstLine({ uid, route }: TenantContext, read: ReadRows): Promise<string> {
  const [head] = await read(headOf(uid))
  const { id, displayName = null, plan = null, isolation, settings = {} } = route
  return `${JSON.stringify({ kind: 'tenant', data: { id, displayName, plan, isolation, settings, position: Number(head?.position) } })}\n`
}

function headOf(tenantUid: string): Statement {
  return { name: 'head.position', text: () => 'SELECT position FROM tenantry.head WHERE tenant = $1', values: [tenantUid] }
}
