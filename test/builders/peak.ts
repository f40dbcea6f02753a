import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from 'pg'

/** Counts what `text`, one statement that gives `count`, finds every few milliseconds, until stopped; gives the most it has ever found. */
export function watchPeak(client: Client, text: string, values: unknown[]): { stop: () => Promise<number> } {
  let peak = 0
  let running = true
  const watching = (async () => {
    while (running) {
      const { rows } = await client.query(text, values)
      peak = Math.max(peak, Number(rows[0]?.count))
      await pause(3)
    }
  })()
  return {
    stop: async () => {
      running = false
      await watching
      return peak
    },
  }
}
