import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { printFigure } from '../builders/figure.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

const SOCKETS = 1_000
const BYTE_EVERY_MS = 10_000
/** Headers have 10 s, a request that is under way too; who is late is looked for every 2 s. */
const LONGEST_MS = 20_000

let world: World
let runtime: RunningRuntime
let acme: RoutedTenant

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme')
  runtime = await startRuntime(world)
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

/** A client that never comes to an end: how long it was suffered, in milliseconds, and what it was told. */
function crawl(beginning: string): Promise<{ heldMs: number; status: string }> {
  return new Promise((resolve, reject) => {
    const begun = performance.now()
    let told = ''
    const socket: Socket = connect(Number(new URL(runtime.url).port), '127.0.0.1', () => socket.write(beginning))
    const timer = setInterval(() => socket.write('1'), BYTE_EVERY_MS)
    socket.setEncoding('latin1').on('data', (chunk) => {
      told += chunk
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') reject(error)
    })
    socket.on('close', () => {
      clearInterval(timer)
      resolve({ heldMs: performance.now() - begun, status: /^HTTP\/1.1 (\d+)/.exec(told)?.[1] ?? 'nothing' })
    })
  })
}

/** Reads a list over and over until `until` is over; gives the 99th percentile of the answers' times in milliseconds. */
async function healthy(until: Promise<unknown>): Promise<number> {
  const times: number[] = []
  let running = true
  void until.finally(() => {
    running = false
  })
  while (running) {
    const begun = performance.now()
    const answer = await fetch(`${runtime.url}/v1/tasks`, { headers: { 'x-api-key': acme.token } })
    expect(answer.status).toBe(200)
    await answer.arrayBuffer()
    times.push(performance.now() - begun)
    await pause(5)
  }
  return times.sort((left, right) => left - right)[Math.floor(times.length * 0.99)] ?? 0
}

test(`HT-07: ${SOCKETS} clients that send a byte every 10 s are cut off, and nobody else notices`, async () => {
  await healthy(pause(1_000))
  const alone = await healthy(pause(4_000))
  const head = `POST /v1/tasks HTTP/1.1\r\nhost: x\r\n`
  const beginnings = [
    'GET /',
    `${head}x-slow: `,
    `${head}content-type: application/json\r\ncontent-length: 1000\r\nx-api-key: ${acme.token}\r\n\r\n{`,
    `${head}content-type: application/json\r\ntransfer-encoding: chunked\r\nx-api-key: ${acme.token}\r\n\r\n`,
  ]
  const crawling = Promise.all(Array.from({ length: SOCKETS }, (_, at) => crawl(beginnings[at % beginnings.length] ?? '')))
  const beside = await healthy(crawling)
  const ends = await crawling
  const longest = Math.max(...ends.map(({ heldMs }) => heldMs))
  printFigure(
    `HT-07: ${SOCKETS} slow sockets, the last cut off after ${(longest / 1_000).toFixed(1)} s; others' p99 ${beside.toFixed(0)} ms, ${alone.toFixed(0)} ms without them`,
  )
  expect(longest).toBeLessThan(LONGEST_MS)
  expect(new Set(ends.map(({ status }) => status))).toEqual(new Set(['408']))
  expect(beside).toBeLessThan(alone + 500)
})
