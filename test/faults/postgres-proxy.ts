import { connect, createServer, type Socket } from 'node:net'
import { addressOf } from './tcp-proxy.ts'

/** A query string on its way to the server, and who sends it. `pid`: the backend that will execute it. */
export type Statement = { text: string; user: string; database: string; pid: number }

/** What becomes of a statement. `hold-answer`: it is executed, then `executed` is called, and the client waits for ever. */
export type Passage = { kind: 'pass' } | { kind: 'silence' } | { kind: 'hold-answer'; executed: () => void }

/** A proxy that reads what goes to Postgres. */
export type PostgresProxy = AsyncDisposable & { host: string; port: number }

const QUERY = 'Q'
const KEY_DATA = 'K'
const READY = 'Z'

/**
 * Starts a proxy that asks `judge` about each query string without parameters, which is how the operator sends all that it writes. It
 * cannot look into TLS: the client must connect without.
 */
export async function startPostgresProxy(
  to: { host: string; port: number },
  judge: (statement: Statement) => Passage,
): Promise<PostgresProxy> {
  const open = new Set<Socket>()
  const server = createServer((near) => {
    open.add(near)
    near.once('close', () => open.delete(near))
    join(near, connect(to.port, to.host), judge)
  })
  const { promise: listening, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await listening
  return {
    ...addressOf(server),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((done) => server.close(done))
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

function join(near: Socket, far: Socket, judge: (statement: Statement) => Passage): void {
  let who: Omit<Statement, 'text'> = { user: '', database: '', pid: 0 }
  let silent = false
  let executed: (() => void) | undefined
  near.on('error', () => {})
  far.on('error', () => near.destroy())
  near.once('close', () => far.destroy())
  far.once('close', () => near.destroy())

  const fromClient = splitter(false, (type, message) => {
    if (silent) return
    if (type === undefined) who = { ...who, ...startOf(message) }
    const passage = type === QUERY ? judge({ ...who, text: message.toString('utf8', 5, message.length - 1) }) : { kind: 'pass' as const }
    silent = passage.kind !== 'pass'
    if (passage.kind === 'hold-answer') executed = passage.executed
    if (passage.kind !== 'silence') far.write(message)
  })
  const fromServer = splitter(true, (type, message) => {
    if (type === KEY_DATA) who = { ...who, pid: message.readInt32BE(5) }
    if (!silent) near.write(message)
    else if (type === READY) executed?.()
  })
  near.on('data', fromClient)
  far.on('data', fromServer)
}

/** Cuts a stream into the protocol's messages. The first that a client sends has no type. */
function splitter(typed: boolean, onMessage: (type: string | undefined, message: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0)
  let hasType = typed
  return (chunk) => {
    rest = Buffer.concat([rest, chunk])
    for (;;) {
      const at = hasType ? 1 : 0
      if (rest.length < at + 4) return
      const length = at + rest.readInt32BE(at)
      if (rest.length < length) return
      const message = rest.subarray(0, length)
      rest = rest.subarray(length)
      const type = hasType ? String.fromCharCode(message[0] ?? 0) : undefined
      hasType = true
      onMessage(type, message)
    }
  }
}

function startOf(message: Buffer): { user: string; database: string } {
  const parts = message.toString('utf8', 8).split('\0')
  const parameter = (name: string) => parts[parts.indexOf(name) + 1] ?? ''
  return { user: parameter('user'), database: parameter('database') }
}
