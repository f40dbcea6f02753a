import type { IncomingMessage, ServerResponse } from 'node:http'
import { createInterface } from 'node:readline'

/** An event of a watch as it passes by. */
export type PassingEvent = {
  type: string
  object: { metadata: { name?: string; uid?: string; resourceVersion?: string }; data?: Record<string, string> }
}

/** A watch on its way through the proxy, line by line. */
export type WatchPipe = {
  /** Ends the stream as a server does whose time is over. */
  end: () => void
  /** Resets the connection. */
  reset: () => void
  /** Sends the first half of an event and ends the stream. */
  truncate: () => void
  /** Nothing passes from now on, and the connection stays open. */
  blackHole: () => void
  /** Sends an ERROR event with that HTTP status, as the API server does when the history is gone, and ends the stream. */
  error: (status: number) => void
  /** Takes the next event that matches out of the stream; `dropped` tells whether it came. */
  drop: (match: (event: PassingEvent) => boolean) => { dropped: () => boolean }
}

/** Passes a watch on to the client, but for the events that `isLost`. */
export function openWatchPipe(incoming: IncomingMessage, response: ServerResponse, isLost: (event: PassingEvent) => boolean): WatchPipe {
  const drops: { match: (event: PassingEvent) => boolean; dropped: boolean }[] = []
  let silent = false

  function pass(line: string): void {
    if (silent || response.destroyed || response.writableEnded) return
    const event: PassingEvent = JSON.parse(line)
    const drop = drops.find((candidate) => !candidate.dropped && candidate.match(event))
    if (drop !== undefined) drop.dropped = true
    else if (!isLost(event)) response.write(`${line}\n`)
  }

  function finish(): void {
    if (!silent) response.end()
  }

  function endWith(text: string): void {
    response.write(text)
    response.end()
    silent = true
  }

  incoming.on('error', () => response.destroy())
  const lines = createInterface(incoming)
  lines.on('line', pass)
  lines.on('close', finish)
  lines.on('error', () => {})
  response.flushHeaders()

  return {
    end: () => response.end(),
    reset: () => void response.socket?.resetAndDestroy(),
    truncate: () => endWith('{"type":"ADDED","object":{"apiVersion":"v1","kind":"Config'),
    blackHole: () => {
      silent = true
    },
    error: (code) => {
      const object = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Expired', message: 'too old resource version', code }
      endWith(`${JSON.stringify({ type: 'ERROR', object })}\n`)
    },
    drop: (match) => {
      const drop = { match, dropped: false }
      drops.push(drop)
      return { dropped: () => drop.dropped }
    },
  }
}
