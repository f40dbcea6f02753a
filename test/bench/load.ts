import autocannon from 'autocannon'
import { z } from 'zod'
import { runToEnd } from './program.ts'

/** What to send: each connection keeps to one caller, and goes through its requests again and again. */
export type Load = {
  url: string
  connections: number
  seconds: number
  callers: { token: string; requests: { method: 'GET' | 'POST'; path: string; body?: string }[] }[]
}

const outcome = z.object({ perSecond: z.number(), p99: z.number(), failed: z.number() })

/** Loads a server from a process of its own and gives the answers per second. Throws when one was not 2xx: an error is quick, and counts for nothing. */
export async function loadFor(load: Load): Promise<number> {
  const { perSecond, failed } = outcome.parse(await runToEnd(import.meta.filename, load))
  if (failed > 0) throw new Error(`${failed} requests to ${load.url} failed`)
  return perSecond
}

async function fire({ url, connections, seconds, callers }: Load): Promise<z.infer<typeof outcome>> {
  let next = 0
  const result = await autocannon({
    url,
    connections,
    duration: seconds,
    setupClient: (client) => {
      const caller = callers[next++ % callers.length]
      if (caller === undefined) throw new Error('there are no callers')
      const headers = { 'x-api-key': caller.token, 'content-type': 'application/json' }
      client.setRequests(caller.requests.map((request) => ({ ...request, headers })))
    },
  })
  const { requests, latency, non2xx, errors, timeouts, duration } = result
  return { perSecond: requests.total / duration, p99: latency.p99, failed: non2xx + errors + timeouts }
}

if (import.meta.main) console.log(JSON.stringify(await fire(JSON.parse(process.argv[2] ?? ''))))
