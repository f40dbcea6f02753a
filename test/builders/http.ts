import { connect } from 'node:net'
import { contractOf } from './conformance.ts'
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

/** Sends bytes as they are to a runtime; gives everything that came back until it closed. Throws when that is not as the document says. */
export async function sendRaw(url: string, text: string): Promise<string> {
  const answer = await exchange(Number(new URL(url).port), text)
  const [head = '', body] = answer.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  const [, method = 'GET', path = '/'] = /^(\w+) (\/[^ ?]*)/.exec(text) ?? []
  const faults = contractOf(url)?.faultsOf({ method, path, status: Number(statusLine.split(' ')[1]), headers, body }) ?? ['no contract']
  if (faults.length > 0) throw new Error(`${answer}\n${faults.join('\n')}`)
  return answer
}

function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    let answer = ''
    socket.setEncoding('utf8').on('data', (chunk) => {
      answer += chunk
    })
    socket.on('close', () => resolve(answer)).on('error', reject)
  })
}
