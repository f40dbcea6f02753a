import { StringDecoder } from 'node:string_decoder'
import { apiError } from './api-error.ts'
import type { AnyObject } from './object.ts'

/** One event of a watch. A bookmark's object has only kind and resourceVersion. */
export type WatchEvent<O extends AnyObject> = { type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; object: O }

/** The stream ended in the middle of an event, or carried something that is none: what came before holds. */
export class TruncatedStream extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'TruncatedStream'
  }
}

/**
 * Reads the events of a watch, one JSON object a line, and tells `onData` of every byte that arrives. Throws the ApiError that an ERROR
 * event carries, and TruncatedStream when a line is not whole.
 */
export async function* readEvents<O extends AnyObject>(
  body: AsyncIterable<Buffer>,
  onData: () => void,
): AsyncGenerator<WatchEvent<O>, void, undefined> {
  for await (const line of readLines(body, onData)) {
    const { type, object } = parseEvent(line)
    if (type === 'ERROR') throw apiError(Number(object.code ?? 500), JSON.stringify(object))
    yield { type, object }
  }
}

async function* readLines(body: AsyncIterable<Buffer>, onData: () => void): AsyncGenerator<string, void, undefined> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const chunk of body) {
    onData()
    const lines = (rest + decoder.write(chunk)).split('\n')
    rest = lines.pop() ?? ''
    yield* lines.filter((line) => line !== '')
  }
  if (rest !== '') throw new TruncatedStream('the watch ended in the middle of an event')
}

// biome-ignore lint/suspicious/noExplicitAny: the one place where what the API server sends gets its type
function parseEvent(line: string): { type: WatchEvent<AnyObject>['type'] | 'ERROR'; object: any } {
  try {
    return JSON.parse(line)
  } catch (error) {
    throw new TruncatedStream('an event of the watch is not whole', error)
  }
}
