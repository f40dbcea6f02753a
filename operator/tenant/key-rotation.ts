import type { ApiKeySpec } from '../../crds/tenant.ts'
import type { ApiKey } from './keys.ts'

/** How long a token stays valid beside the one that has replaced it, in milliseconds. */
export const KEY_OVERLAP_MS = 3_600_000

// A key that waits is not resynced: no wait may be longer than the time between two resyncs.
const LONGEST_WAIT_MS = 600_000

type Wanted = Pick<ApiKeySpec, 'name' | 'rotateAt'>

/** What a key's age asks for; undefined: nothing now. */
export function dueStep({ rotateAt }: Wanted, key: ApiKey, now: number): 'rotate' | 'forget' | undefined {
  const at = Date.parse(rotateAt ?? '')
  if (at <= now && key.issuedAt < at) return 'rotate'
  return key.previous !== undefined && key.previous.until <= now ? 'forget' : undefined
}

/** In how many milliseconds a key's age will ask for something; undefined: never. What is due now is taken as done. */
export function nextDue(wanted: readonly Wanted[], keys: readonly ApiKey[], now: number): number | undefined {
  const times = wanted.flatMap((one) => {
    const key = keys.find(({ name }) => name === one.name)
    const rotates = key !== undefined && dueStep(one, key, now) === 'rotate'
    return [Date.parse(one.rotateAt ?? ''), rotates ? now + KEY_OVERLAP_MS : (key?.previous?.until ?? Number.NaN)]
  })
  const waits = times.map((time) => time - now).filter((ms) => ms > 0)
  return waits.length === 0 ? undefined : Math.min(...waits, LONGEST_WAIT_MS)
}
