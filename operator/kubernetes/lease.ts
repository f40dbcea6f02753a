import { channel } from 'node:diagnostics_channel'
import type { Log } from '../../config/log.ts'
import { type Clock, sleep, systemClock } from '../loop/clock.ts'
import { deadline } from '../loop/deadline.ts'
import { isStatus, isTerminating } from './api-error.ts'
import type { Client } from './client.ts'
import { LEASES, type Lease, type LeaseSpec } from './object.ts'
import { readStandIn, type StandIn, writeStandIn } from './stand-in.ts'

/** How to hold a Lease; the defaults are those of Kubernetes' own controllers. */
export type LeaseOptions = {
  client: Client
  namespace: string
  name: string
  /** Who holds it: another word for each process, also for two runs of the same pod. */
  identity: string
  /** How long others wait for a holder that says nothing (15 s). Whole seconds. */
  durationMs?: number
  /** A holder that could not renew for so long counts the Lease as lost (10 s). Must be shorter than the duration. */
  renewDeadlineMs?: number
  /** Between two looks or renewals (2 s). */
  retryMs?: number
  /** What bears the Lease's record once that has gone with its namespace. */
  standIn?: StandIn
  /** Ends the waiting for the Lease. A Lease that is held is given back by `release` alone. */
  signal: AbortSignal
  log: Log
  clock?: Clock
}

/** A Lease that is held. */
export type HeldLease = {
  /** Aborts when the Lease is lost: whatever only a leader may do must end now, and the process with it. Not by `release`. */
  lost: AbortSignal
  /** Stops renewing and gives the Lease back, so that another takes over at once. Call it after the work has ended. Never rejects. */
  release: () => Promise<void>
}

/** Who leads: `{ name, identity, leading }`, when it is won, lost or released. */
export const leaderChannel = channel('tenantry:leader')

/** The reason of `lost`. */
export class LeaseLost extends Error {
  constructor(why: string) {
    super(`the lease is lost: ${why}`)
    this.name = 'LeaseLost'
  }
}

/** Of one write, when others write too. */
const MAX_TRIES = 3

type Attempt = { held: true; lease: Lease } | { held: false; holder: string }

/**
 * Waits until this process holds the Lease and keeps it. Clocks of different machines are never compared: a candidate waits until the
 * record has not changed for its duration by the candidate's own monotonic clock, and a holder gives up when its last success began
 * `renewDeadlineMs` ago by its own: before any candidate can have waited long enough. Rejects with the signal's reason when that aborts first.
 */
export async function holdLease(options: LeaseOptions): Promise<HeldLease> {
  const { name, identity, retryMs = 2_000, signal, log, clock = systemClock } = options
  const election = candidate(options, clock)
  while (!signal.aborted) {
    const startedAt = clock.now()
    try {
      const attempt = await election.attempt(signal)
      if (attempt.held) {
        log.info({ lease: name, identity }, 'the lease is held')
        return keep(options, clock, election, { lease: attempt.lease, at: startedAt })
      }
    } catch (error) {
      if (!signal.aborted) log.warn({ lease: name, identity, err: error }, 'the lease could not be looked at')
    }
    await sleep(retryMs * (1 + 0.2 * Math.random()), signal, clock)
  }
  throw signal.reason
}

type Candidate = {
  attempt: (signal: AbortSignal, mine?: Lease) => Promise<Attempt>
  /** Lets another have it at once, if it is still held. */
  giveUp: (signal: AbortSignal) => Promise<void>
}

function candidate(
  { client, namespace, name, identity, durationMs = 15_000, renewDeadlineMs = 10_000, standIn }: LeaseOptions,
  clock: Clock,
): Candidate {
  let observed: { record: string | undefined; at: number } | undefined

  /** True when the holder has been silent for its whole duration, as seen from here. */
  function expired({ spec }: Lease): boolean {
    const record = JSON.stringify(spec)
    if (observed === undefined || observed.record !== record) observed = { record, at: clock.now() }
    const validMs = spec?.leaseDurationSeconds === undefined ? durationMs : spec.leaseDurationSeconds * 1000
    return clock.now() - observed.at >= validMs
  }

  function specFor(before: Lease | undefined): LeaseSpec {
    const now = `${new Date().toISOString().slice(0, -1)}000Z`
    const last = before?.spec
    const mine = last?.holderIdentity === identity
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(durationMs / 1000),
      acquireTime: mine ? (last.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (last?.leaseTransitions ?? 0) + (mine || last === undefined ? 0 : 1),
    }
  }

  async function write(before: Lease | undefined, signal: AbortSignal, tries = 1): Promise<Attempt> {
    try {
      return { held: true, lease: await put(before, specFor(before), signal) }
    } catch (error) {
      if (tries === MAX_TRIES || !(isStatus(error, 409) || isStatus(error, 404))) throw error
    }
    // Someone was faster, or an earlier write of ours went through and its answer was lost. In the second case write
    // again: only a success that began now may move the fence.
    const now = await (isStandIn(before) ? readStand(signal) : client.get(LEASES, namespace, name, { signal }))
    if (now === undefined || holderOf(now) === identity) return write(now, signal, tries + 1)
    expired(now)
    return { held: false, holder: holderOf(now) }
  }

  function put(before: Lease | undefined, spec: LeaseSpec, signal: AbortSignal): Promise<Lease> {
    if (before === undefined) return client.create(LEASES, namespace, { metadata: { name }, spec }, { signal })
    if (standIn !== undefined && isStandIn(before)) return writeStandIn(client, namespace, standIn, { ...before, spec }, signal)
    const { resourceVersion } = before.metadata
    return client.patch(LEASES, namespace, name, { metadata: { resourceVersion }, spec }, { signal })
  }

  const readStand = async (signal: AbortSignal) => standIn && readStandIn(client, namespace, standIn, signal)

  async function attemptLease(signal: AbortSignal, mine?: Lease): Promise<Attempt> {
    if (mine !== undefined) return write(mine, signal)
    const lease = await client.get(LEASES, namespace, name, { signal })
    const free = lease === undefined || ['', identity].includes(holderOf(lease)) || expired(lease)
    return free ? write(lease, signal) : { held: false, holder: holderOf(lease) }
  }

  /**
   * A Lease that went with its namespace can be made by nobody any more. Who held it goes on with what stands in for it; everybody else
   * waits there as for a holder that says nothing. When that is gone too, who held it last sees out what is left.
   */
  async function attemptStandIn(error: unknown, signal: AbortSignal, mine?: Lease): Promise<Attempt> {
    const now = await readStand(signal)
    if (now === undefined) {
      if (mine === undefined) throw error
      return { held: true, lease: mine }
    }
    const known = mine !== undefined || now.spec !== undefined
    const free = (known && ['', identity].includes(holderOf(now))) || expired(now)
    return free ? write(now, signal) : { held: false, holder: holderOf(now) }
  }

  return {
    attempt: async (signal, mine) => {
      // Half the time only, so that a connection that says nothing leaves time for a second try on a new one.
      using limit = deadline(`lease ${name}`, renewDeadlineMs / 2, signal, clock)
      try {
        return await attemptLease(limit.signal, mine)
      } catch (error) {
        if (!isTerminating(error)) throw error
        return attemptStandIn(error, limit.signal, mine)
      }
    },
    giveUp: async (signal) => {
      const now = (await client.get(LEASES, namespace, name, { signal })) ?? (await readStand(signal))
      if (now !== undefined && holderOf(now) === identity) await put(now, { holderIdentity: '', leaseDurationSeconds: 1 }, signal)
    },
  }
}

function isStandIn(lease: Lease | undefined): boolean {
  return lease !== undefined && lease.kind !== LEASES.kind
}

/** '' when nobody holds it. */
function holderOf({ spec }: Lease): string {
  return spec?.holderIdentity ?? ''
}

function keep(options: LeaseOptions, clock: Clock, election: Candidate, won: { lease: Lease; at: number }): HeldLease {
  const { name, identity, renewDeadlineMs = 10_000, retryMs = 2_000, log } = options
  const lost = new AbortController()
  const stop = new AbortController()
  let { lease, at } = won
  let cancelFence = () => {}

  function lose(why: string): void {
    if (stop.signal.aborted) return
    log.error({ lease: name, identity }, `the lease is lost: ${why}`)
    finish()
    lost.abort(new LeaseLost(why))
  }

  function finish(): void {
    cancelFence()
    stop.abort()
    leaderChannel.publish({ name, identity, leading: false })
  }

  /** Independent of the calls: a renewal that hangs does not keep the fence from falling. */
  function fence(): void {
    cancelFence()
    cancelFence = clock.after(Math.max(0, at + renewDeadlineMs - clock.now()), () => lose(`not renewed for ${renewDeadlineMs} ms`))
  }

  async function renew(): Promise<void> {
    const startedAt = clock.now()
    const attempt = await election.attempt(stop.signal, lease)
    if (!attempt.held) return lose(`it is held by '${attempt.holder}'`)
    lease = attempt.lease
    at = startedAt
    if (!stop.signal.aborted) fence()
  }

  async function renewForever(): Promise<void> {
    while (!stop.signal.aborted) {
      await sleep(retryMs, stop.signal, clock)
      if (stop.signal.aborted) return
      try {
        await renew()
      } catch (error) {
        if (!stop.signal.aborted) log.warn({ lease: name, identity, err: error }, 'the lease could not be renewed')
      }
    }
  }

  async function release(): Promise<void> {
    if (stop.signal.aborted) return
    finish()
    await renewing
    using limit = deadline(`release of ${name}`, renewDeadlineMs, undefined, clock)
    try {
      await election.giveUp(limit.signal)
      log.info({ lease: name, identity }, 'the lease is released')
    } catch (error) {
      log.warn({ lease: name, identity, err: error }, 'the lease could not be released; others wait for its end')
    }
  }

  leaderChannel.publish({ name, identity, leading: true })
  fence()
  const renewing = renewForever()
  return { lost: lost.signal, release }
}
