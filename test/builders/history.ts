import fc from 'fast-check'
import { escapeIdentifier } from 'pg'
import type { CommandBus } from '../../runtime/commands/bus.ts'
import { eventsAfter, toStoredEvent } from '../../runtime/events/store.ts'
import { taskStatisticsProjection as statistics } from '../../runtime/features/tasks/statistics.ts'
import type { StoredEvent } from '../../runtime/projections/projection.ts'
import { eventRetention } from '../../runtime/retention/events.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { connectAsSuperuser, type Server } from './provision.ts'
import { busOn, command } from './runtime.ts'

/** Makes the events up to a position two days old, which no role of a tenant may. */
export async function ageEvents(server: Server, { uid, route }: TenantContext, position: number): Promise<void> {
  const superuser = await connectAsSuperuser(server, route.database)
  const events = `${escapeIdentifier(route.schema)}.events`
  await superuser.query(`UPDATE ${events} SET time = now() - interval '2 days' WHERE tenant_id = $1 AND position <= $2`, [uid, position])
  await superuser.end()
}

/** One step of the retention of events: what is older than a day goes, at most so many. Gives how many. */
export function removeOldEvents(session: Session, tenant: TenantContext, limit: number, retention = eventRetention([statistics])) {
  if (!('removeIn' in retention)) throw new Error('events do not go in a transaction')
  return session.transaction(tenant, (...transaction) => retention.removeIn(transaction, tenant.uid, 1, limit))
}

const which = fc.nat({ max: 100 })

/** What may happen to a tenant next: a command, or that projection, relay or retention come by. The number chooses which thing, or how far. */
export const happening = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('create' as const), which }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('update' as const, 'complete' as const, 'delete' as const), which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('register' as const, 'erase' as const), which }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('project' as const, 'relay' as const, 'retain' as const), which }) },
)

/** Some due dates: past, to come, none. */
export const DUE_DATES = ['2001-01-01T00:00:00Z', '2099-01-01T00:00:00Z', null]

/** A tenant's life: commands are done to it, and every event is noted before it may go. */
export class Life {
  readonly history: StoredEvent[] = []
  readonly #session: Session
  readonly #tenant: TenantContext
  readonly #bus: CommandBus
  readonly #tasks: string[] = []
  readonly #users: string[] = []

  constructor(session: Session, tenant: TenantContext) {
    this.#session = session
    this.#tenant = tenant
    this.#bus = busOn(session)
  }

  /** Does one command, where there is what it is about. */
  async live(kind: string, which: number): Promise<void> {
    const { uid } = this.#tenant
    const [task, user] = [this.#tasks[which % this.#tasks.length], this.#users[which % this.#users.length]]
    if (kind === 'create')
      this.#tasks.push(await this.#do('CreateTask', { title: 't', dueDate: DUE_DATES[which % 3], assignee: user ?? null }))
    else if (kind === 'register') {
      this.#users.push(await this.#do('RegisterUser', { email: `${this.history.length}@example.com`, displayName: 'U' }))
    } else if (kind === 'erase' && user !== undefined) remove(this.#users, await this.#do('EraseUser', { id: user }))
    else if (task !== undefined) await this.#change(kind, task, which)
    const rows = await this.#session.read(this.#tenant, eventsAfter(uid, this.history.length, 1_000))
    this.history.push(...rows.map((row) => toStoredEvent(uid, row)))
  }

  async #change(kind: string, id: string, which: number): Promise<void> {
    const edit = { id, dueDate: DUE_DATES[which % 3], priority: which % 2 === 0 ? 'low' : 'high', status: 'pending' }
    if (kind === 'update') await this.#do('UpdateTask', edit)
    // One that is completed already is refused, and leaves no event.
    else if (kind === 'complete') await this.#do('CompleteTask', { id }).catch(() => undefined)
    else if (kind === 'delete') remove(this.#tasks, await this.#do('DeleteTask', { id }))
  }

  async #do(name: string, input: object): Promise<string> {
    return (await command(this.#bus, this.#tenant, name, input)).id
  }
}

function remove(ids: string[], id: string): void {
  ids.splice(ids.indexOf(id), 1)
}
