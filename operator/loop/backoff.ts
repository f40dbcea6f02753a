/** How long to wait after failures in a row. */
export type Backoff = {
  /** The first delay, in milliseconds; each failure doubles it. */
  baseMs: number
  capMs: number
  /** 0 .. 1: the part of the delay that is drawn at random, so that those who failed together do not come back together. */
  jitter: number
}

/** The delay in milliseconds after `failures` failures in a row (at least 1): never above the cap, never below cap or doubling times (1 - jitter). */
export function backoffDelay({ baseMs, capMs, jitter }: Backoff, failures: number, random: () => number = Math.random): number {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 52))
  return full * (1 - jitter * random())
}
