import { request } from 'node:http'
import { connect } from 'node:net'

/** One answer; `type` is the last part of a problem's type. */
export type RawReply = { status: number; type: string | undefined; headers: Record<string, string | string[] | undefined>; text: string }

/** Sends a GET with exactly these headers, in this order, and the right `Host` where none is among them. */
export function getRaw(url: string, path: string, headers: readonly [name: string, value: string][]): Promise<RawReply> {
  const { hostname, port, host } = new URL(url)
  const all = headers.some(([name]) => name === 'Host') ? headers : [['Host', host], ...headers]
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, headers: all.flat() }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk) => {
        text += chunk
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, type: typeOf(text), headers: answer.headers, text }))
    })
    sent.on('error', reject).end()
  })
}

/** Sends bytes as they are; gives everything that came back. */
export function sendBytes(url: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname, () => socket.write(text))
    let answer = ''
    socket.setEncoding('utf8').on('data', (chunk) => {
      answer += chunk
    })
    socket.on('close', () => resolve(answer)).on('error', reject)
  })
}

function typeOf(text: string): string | undefined {
  return /"type":"[^"]*\/([\w-]+)"/.exec(text)?.[1]
}
