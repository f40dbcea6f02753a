import { setTimeout as pause } from 'node:timers/promises'
import { ask } from './platform.ts'

/** What a stretch of traffic saw. */
export type Seen = {
  /** Ids of tasks whose creation was acknowledged. */
  acknowledged: string[]
  /** Every other answer: a status, or the error of a connection. */
  refused: string[]
  /** Longest wait for an answer, in milliseconds. */
  slowest: number
}

/** Writes tasks, one after the other, to one replica until it is stopped. */
export function startTraffic(base: string, key: string, label: string): { seen: Seen; stop: () => Promise<Seen> } {
  const seen: Seen = { acknowledged: [], refused: [], slowest: 0 }
  let running = true
  const write = async (number: number) => {
    const start = performance.now()
    try {
      const reply = await ask(base, key, 'POST', '/v1/tasks', { title: `${label} ${number}` })
      if (reply.status === 201) seen.acknowledged.push(String(reply.body.id))
      else seen.refused.push(`${reply.status} ${reply.body.type}`)
    } catch (error) {
      seen.refused.push(String(error))
    }
    seen.slowest = Math.max(seen.slowest, performance.now() - start)
  }
  const loop = (async () => {
    for (let number = 1; running; number += 1) {
      await write(number)
      await pause(20)
    }
  })()
  const stop = async () => {
    running = false
    await loop
    return seen
  }
  return { seen, stop }
}
