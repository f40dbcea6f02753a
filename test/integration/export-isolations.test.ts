import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createAudit } from '../../runtime/events/audit.ts'
import { audit } from '../../runtime/features/audit/index.ts'
import { exportOf } from '../../runtime/features/export/index.ts'
import { tasks } from '../../runtime/features/tasks/index.ts'
import { users } from '../../runtime/features/users/index.ts'
import { createStreamBus, type StreamBus } from '../../runtime/queries/stream.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { busOn, command, sessionOn } from '../builders/runtime.ts'

let database: TestDatabase
let session: Session
let streams: StreamBus

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  session = sessionOn(database)
  streams = createStreamBus(exportOf([tasks, users, audit]).streams ?? [], session, createAudit(session))
})
afterAll(async () => {
  await session.close()
  await database.drop()
})

async function linesOf(tenant: TenantContext): Promise<{ kind: string; data: Record<string, unknown>; counts: object }[]> {
  let text = ''
  for await (const piece of streams.open(tenant, 'ExportTenant', {}, new AbortController().signal)) text += piece
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}

test.each(ISOLATIONS)(
  '%s: a tenant with more than a page of everything is exported whole, each line once, and alone',
  async (isolation) => {
    const [mine, other] = [await database.tenant('acme', isolation), await database.tenant('globex', isolation)]
    const bus = busOn(session)
    for (const tenant of [mine, other]) {
      const numbers = Array.from({ length: 260 }, (_, index) => index)
      await Promise.all(
        numbers.map((n) => command(bus, tenant, 'RegisterUser', { email: `u${n}@${tenant.id}.example`, displayName: `${n}` })),
      )
      await Promise.all(numbers.map((n) => command(bus, tenant, 'CreateTask', { title: `${tenant.id} ${n}` })))
    }
    const lines = await linesOf(mine)
    // The export itself is in the log that it shows.
    expect(lines.at(-1)?.counts).toEqual({ tasks: 260, users: 260, audit: 521, events: 520 })
    expect(new Set(lines.map((line) => JSON.stringify(line))).size).toBe(lines.length)
    expect(lines.flatMap(({ kind, data }) => (kind === 'events' ? [data.position] : []))).toEqual(
      Array.from({ length: 520 }, (_, index) => index + 1),
    )
    expect(JSON.stringify(lines)).not.toContain('globex')
  },
)
