import type { FetchImplementation } from 'jose'

/** An identity provider's keys cannot be read: nothing can be said about its tokens. */
export class KeysUnavailable extends Error {
  constructor(address: string, cause: unknown) {
    super(`the keys at ${address} cannot be read`, { cause })
    this.name = 'KeysUnavailable'
  }
}

/** The largest key set that is read, in bytes. */
const LARGEST = 64 * 1_024

/** After a failure the provider is left alone for so long, and the keys that were read last hold on for so long: milliseconds. */
const PAUSE = 5_000
const HOLD = 3_600_000

/**
 * Reads a key set from one address: no redirects, no more than 64 KiB, never more often than every five seconds. A provider that is away for less than
 * an hour is not noticed. Throws KeysUnavailable.
 */
export function createFetchKeys(get: typeof fetch = fetch, now: () => number = Date.now): FetchImplementation {
  let good: { text: string; at: number } | undefined
  let failure: { cause: unknown; at: number } | undefined

  return async (url, { headers, signal }) => {
    if (failure === undefined || now() - failure.at >= PAUSE) {
      try {
        good = { text: await readKeySet(await get(url, { headers, signal, redirect: 'error' })), at: now() }
        failure = undefined
      } catch (cause) {
        failure = { cause, at: now() }
      }
    }
    if (good === undefined || now() - good.at > HOLD) throw new KeysUnavailable(url, failure?.cause)
    return new Response(good.text)
  }
}

async function readKeySet(response: Response): Promise<string> {
  if (response.status !== 200) throw new Error(`the answer was ${response.status}`)
  const decoder = new TextDecoder('utf8', { fatal: true })
  let text = ''
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > LARGEST) throw new Error(`the answer is larger than ${LARGEST} bytes`)
  }
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null || !('keys' in value) || !Array.isArray(value.keys))
    throw new Error('the answer is no key set')
  return text
}
