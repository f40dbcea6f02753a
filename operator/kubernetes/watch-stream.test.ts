import { expect, test } from 'vitest'
import { ApiError } from './api-error.ts'
import { readEvents, TruncatedStream } from './watch-stream.ts'

const event = (name: string) =>
  `${JSON.stringify({ type: 'ADDED', object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } } })}\n`

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** The names of the events, and what ended the stream when it did not end well. */
async function read(text: string, size = 1_000): Promise<{ names: string[]; error: unknown; chunks: number }> {
  const names: string[] = []
  let chunks = 0
  try {
    for await (const { object } of readEvents(inChunks(Buffer.from(text), size), () => chunks++)) names.push(object.metadata.name)
  } catch (error) {
    return { names, error, chunks }
  }
  return { names, error: undefined, chunks }
}

test('events are whole however the bytes are cut, also within a character', async () => {
  for (let size = 1; size < 20; size++) {
    expect(await read(event('zürich') + event('東京'), size)).toMatchObject({ names: ['zürich', '東京'], error: undefined })
  }
})

test('every chunk is a sign of life', async () => {
  expect((await read(event('a'), 10)).chunks).toBeGreaterThan(5)
})

test.for([
  ['in the middle of an event', event('a') + event('b').slice(0, -20)],
  ['after an event without its line end', event('a') + event('b').trimEnd()],
])('a stream that ends %s gives what came before and says so', async ([, text = '']) => {
  const { names, error } = await read(text)
  expect(names).toEqual(['a'])
  expect(error).toBeInstanceOf(TruncatedStream)
})

test('a line that is no event is refused', async () => {
  expect((await read(`${event('a')}<html>\n`)).error).toBeInstanceOf(TruncatedStream)
})

test('an ERROR event is thrown as what its Status says', async () => {
  const object = { kind: 'Status', reason: 'Expired', message: 'too old resource version', code: 410 }
  const { names, error } = await read(`${event('a')}${JSON.stringify({ type: 'ERROR', object })}\n${event('b')}`)
  expect(names).toEqual(['a'])
  expect(error).toBeInstanceOf(ApiError)
  expect(error).toMatchObject({ status: 410, reason: 'Expired' })
})
