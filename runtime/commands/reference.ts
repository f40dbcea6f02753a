import { lockHead, requireHead } from '../shards/head.ts'
import type { Run, Session } from '../shards/session.ts'
import type { Row, Statement } from '../shards/statement.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { changeBy, committed, readSaved, type Saved } from './change.ts'
import type { Aggregate, AnyCommand, Change, Committed, Moment, Most, NewEvent, OnCommit } from './command.ts'

/** Things that refer to those of another feature; before one of these is removed, all that refer to it let go, by events of their own. */
export type Reference<State, Event extends NewEvent> = {
  /** The name of the aggregate that is referred to. */
  to: string
  /** What refers. */
  aggregate: Aggregate<State, Event>
  /** The rows of what refers to the thing with that id, as the aggregate's `load` gives them, each with its `id`; at most so many. */
  find: (tenantUid: string, to: string, limit: number) => Statement
  /** The events by which one lets go. */
  letGo: (state: State, moment: Moment) => Event[]
}

// biome-ignore lint/suspicious/noExplicitAny: state and event are each reference's own business
export type AnyReference = Reference<any, any>

type AnyAggregate = AnyCommand['aggregate']

/** Removes things that others may refer to. */
export type Remover = {
  /** Whether something may refer to such a thing. */
  concerns: (aggregate: AnyAggregate) => boolean
  /** Writes the removal; gives what Saver.save gives. What has let go before it stays so when the rest fails. */
  remove: (tenant: TenantContext, aggregate: AnyAggregate, change: Change<unknown>, signal: AbortSignal) => Promise<Saved | undefined>
}

const AT_ONCE = 256
/** What lets go, or goes, finds room. */
const ANY: Most = { rows: null, bytes: null }

/**
 * What refers lets go a few hundred at a time; the last of it in the very transaction that removes the thing. Each holds the head from the
 * look to the commit, so that nothing can come to refer to it in between, however many try.
 */
export function createRemover(session: Session, references: readonly AnyReference[], onCommit: OnCommit): Remover {
  const to = (aggregate: AnyAggregate) => references.filter((reference) => reference.to === aggregate.name)

  /** One transaction: what has let go in it, and unless there may be more, where the removal stands. */
  const step = (tenant: TenantContext, aggregate: AnyAggregate, change: Change<unknown>) =>
    session.transaction(tenant, async (run) => {
      const { uid, route } = tenant
      requireHead(await run(lockHead(uid, route.epoch)))
      const released: Committed[] = []
      for (const reference of to(aggregate)) released.push(...(await letGo(run, tenant, reference, change)))
      if (released.length >= AT_ONCE) return { released, isLast: false }
      const [row] = await run(aggregate.save(uid, route.epoch, [change], ANY))
      return { released, isLast: true, saved: readSaved(tenant, aggregate, row) }
    })

  return {
    concerns: (aggregate) => to(aggregate).length > 0,
    remove: async (tenant, aggregate, change, signal) => {
      for (;;) {
        signal.throwIfAborted()
        const { released, isLast, saved } = await step(tenant, aggregate, change)
        onCommit(tenant, released)
        if (isLast) return saved
      }
    },
  }
}

async function letGo(run: Run, tenant: TenantContext, { aggregate, find, letGo }: AnyReference, { id: to, time }: Change<unknown>) {
  const { uid, route } = tenant
  const now = new Date(time)
  const changes = (await run(find(uid, to, AT_ONCE))).map((row) => {
    const [id, loaded] = [String(row.id), aggregate.read(row)]
    return changeBy(aggregate, id, loaded, letGo(loaded.state, { now, id }), now)
  })
  if (changes.length === 0) return []
  const rows = new Map((await run(aggregate.save(uid, route.epoch, changes, ANY))).map((row: Row) => [String(row.id), row]))
  return changes.flatMap((change) => {
    const saved = readSaved(tenant, aggregate, rows.get(change.id))
    return saved === undefined ? [] : committed(change, saved)
  })
}
