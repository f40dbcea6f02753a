import { setTimeout as pause } from 'node:timers/promises'

/** What a stretch of traffic has seen so far. */
export type Seen = {
  answered: number
  /** Every answer that was not 2xx, and every request without one. */
  failed: string[]
}

/** Some hundred requests a second, or fewer with longer pauses, to one runtime as one tenant, until stopped: three reads of the list, then a new task, over and over. */
export function startTraffic(
  url: string,
  token: string,
  { callers = 8, pauseMs = 5 }: { callers?: number; pauseMs?: number } = {},
): { seen: Seen; stop: () => Promise<number> } {
  const seen: Seen = { answered: 0, failed: [] }
  const begun = performance.now()
  let running = true
  const ask = async (number: number) => {
    const headers = { 'x-api-key': token, 'content-type': 'application/json' }
    const write = { method: 'POST', headers, body: JSON.stringify({ title: `task ${number}` }) }
    try {
      const isWrite = number % 4 === 3
      const response = await fetch(new URL(isWrite ? '/v1/tasks' : '/v1/tasks?limit=10', url), isWrite ? write : { headers })
      const text = await response.text()
      if (response.ok) seen.answered += 1
      else seen.failed.push(`${response.status} ${text}`)
    } catch (error) {
      seen.failed.push(String(error))
    }
  }
  const call = async () => {
    for (let number = 0; running; number += 1) {
      await ask(number)
      await pause(pauseMs)
    }
  }
  const calls = Array.from({ length: callers }, call)
  return {
    seen,
    /** Resolves with the answers per second, when the last is in. */
    stop: async () => {
      running = false
      await Promise.all(calls)
      return (seen.answered / (performance.now() - begun)) * 1_000
    },
  }
}
