import { Agent, request } from 'node:http'

// Runs in a pod of its own, from a ConfigMap: it imports nothing but Node's modules.

const [url = '', key = '', perSecond = '100'] = [process.env.TARGET, process.env.API_KEY, process.env.PER_SECOND]
const agent = new Agent({ keepAlive: true, maxSockets: 200, timeout: 15_000 })
const headers = { 'x-api-key': key, 'content-type': 'application/json' }

/** What a second of traffic saw, written as a line each. `failed` names each answer that was no success, and each connection that broke. */
type Second = { sent: number; ok: number; slowest: number; failed: string[] }

let second: Second = { sent: 0, ok: 0, slowest: 0, failed: [] }

function send(method: string, path: string, body?: string): Promise<string> {
  second.sent += 1
  const begin = performance.now()
  return new Promise((resolve) => {
    const fail = (reason: string) => {
      second.failed.push(`${new Date().toISOString()} ${method} ${reason}`)
      resolve('')
    }
    const sent = request(new URL(path, url), { method, headers, agent }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('error', (error) => fail(`${error}`))
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        second.slowest = Math.max(second.slowest, Math.round(performance.now() - begin))
        if ((answer.statusCode ?? 0) >= 300) return fail(`${answer.statusCode} ${text.slice(0, 200)}`)
        second.ok += 1
        resolve(text)
      })
    })
    sent.on('error', (error) => fail(`${error}`))
    sent.end(body)
  })
}

const write = () => send('POST', '/v1/tasks', JSON.stringify({ title: 'Water the plants' }))
let first = ''
while (first === '') first = await write()
const { id } = JSON.parse(first)
const interval = 1000 / Number(perSecond)
let due = performance.now()
let count = 0

// By the clock and not by the answers: who is slow to answer gets no fewer requests.
setInterval(() => {
  for (; due <= performance.now(); due += interval) {
    count += 1
    if (count % 5 === 0) void write()
    else void send('GET', `/v1/tasks/${id}`)
  }
}, 5)

setInterval(() => {
  process.stdout.write(`${JSON.stringify(second)}\n`)
  second = { sent: 0, ok: 0, slowest: 0, failed: [] }
}, 1_000)
