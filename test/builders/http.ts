import type { RoutedTenant } from './world.ts'

/** A request; `as: null`: without a key. */
export type Sent = { method?: string; headers?: Record<string, string>; body?: string; json?: unknown; as: RoutedTenant | null }

/** A task that nobody has. */
export const MISSING = '/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057'

/** Sends to a runtime. */
export function sendTo(url: string, path: string, { method = 'GET', headers = {}, body, json, as }: Sent): Promise<Response> {
  const sent = json === undefined ? body : JSON.stringify(json)
  return fetch(`${url}${path}`, {
    method,
    headers: {
      ...(as === null ? {} : { 'x-api-key': as.token }),
      ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(sent === undefined ? {} : { body: sent }),
  })
}

/** The body, which a test may look into freely. */
export async function read(answer: Response) {
  return JSON.parse(await answer.text())
}
