/** One step of a rotation; they are taken in the order of the plan, and each may be taken again. */
export type RotationStep = 'revoke' | 'end-connections' | 'rotate'

/** What a pass does about the age of the runtime's login, and when there is more to do. */
export type Rotation = { steps: RotationStep[]; nextMs: number | undefined }

const MINUTE_MS = 60_000
/** How long the login that was replaced stays valid: at least, and at most when connections of it are left. */
const OVERLAP = { least: MINUTE_MS, most: 60 * MINUTE_MS }
const LOOK_AGAIN_MS = 10_000
// A key that waits is not resynced: no wait may be longer than the time between two resyncs.
const LONGEST_WAIT_MS = 10 * MINUTE_MS
const UNITS = { h: 3_600_000, m: MINUTE_MS, s: 1_000 }

/** The login in use and the other one: when the first was made, RFC 3339, and whether the other is let in and still used. */
export type Turn = { issuedAt: string | undefined; spare: { canLogin: boolean; connections: number } }

/**
 * Works out how a login of the runtime's is replaced; without a `turn` the one in use has to be mended first. The other login is made valid and put into the Secret; the one before is revoked when
 * no connection of it is left, by force when it has been replaced for an hour. A login that is still in use is never made anew.
 */
export function planRotation(turn: Turn | undefined, rotateAfter: string | undefined, now: number): Rotation {
  const lifeMs = rotateAfter === undefined ? Number.POSITIVE_INFINITY : parseDuration(rotateAfter)
  if (turn === undefined) return wait([], [lifeMs, MINUTE_MS])
  const { canLogin, connections } = turn.spare
  const ageMs = turn.issuedAt === undefined ? Number.POSITIVE_INFINITY : now - Date.parse(turn.issuedAt)
  const overdue = ageMs >= OVERLAP.most
  const revoke = canLogin && (overdue || (ageMs >= OVERLAP.least && connections === 0))
  const overlaps = canLogin && !revoke
  const due = rotateAfter !== undefined && ageMs >= lifeMs
  const steps: RotationStep[] = []
  if (revoke) steps.push('revoke')
  if (overdue && connections > 0) steps.push('end-connections')
  if (due && !overlaps) return wait([...steps, 'rotate'], [lifeMs, OVERLAP.least])
  return wait(steps, [lifeMs - ageMs, ...(overlaps ? [OVERLAP.least - ageMs] : [])])
}

function wait(steps: RotationStep[], times: readonly number[]): Rotation {
  const next = Math.min(...times)
  if (!Number.isFinite(next)) return { steps, nextMs: undefined }
  return { steps, nextMs: next <= 0 ? LOOK_AGAIN_MS : Math.min(next, LONGEST_WAIT_MS) }
}

/** A duration such as `720h` or `1h30m` in milliseconds. */
function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d+)([hms])/g)]
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit as keyof typeof UNITS], 0)
}
