import { connect, createServer, type Server, type Socket } from 'node:net'

/** A proxy that knows nothing of what it carries: for servers that speak no HTTP, and for what happens below TLS. */
export type TcpProxy = {
  host: string
  port: number
  /** Connections that are open now. */
  connections: () => number
  /** Connections that were opened so far. */
  opened: () => number
  /** Resets every open connection. */
  reset: () => void
  /** Resets every open connection and each new one, until `mend`. */
  down: () => void
  /** Everything is swallowed and nothing is closed, on old connections and new ones. */
  blackHole: () => void
  /** New connections work again; those that were swallowed stay dead. */
  mend: () => void
  close: () => Promise<void>
}

const HOST = '127.0.0.1'

/** Starts a proxy on a free port of 127.0.0.1. */
export async function startTcpProxy(to: { host: string; port: number }): Promise<TcpProxy> {
  const near = new Set<Socket>()
  let opened = 0
  let state: 'passes' | 'down' | 'swallows' = 'passes'

  // Half open, so that it answers no end of a connection by itself: what it says comes from the other side, or is not said.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    opened += 1
    socket.on('error', () => {})
    if (state === 'down') return void socket.resetAndDestroy()
    near.add(socket)
    socket.once('close', () => near.delete(socket))
    if (state === 'passes') join(socket, connect(to.port, to.host))
    else socket.resume()
  })
  const { promise: listening, resolve } = Promise.withResolvers<void>()
  server.listen(0, HOST, resolve)
  await listening

  function reset(): void {
    for (const socket of near) socket.resetAndDestroy()
  }

  return {
    ...addressOf(server),
    connections: () => near.size,
    opened: () => opened,
    reset,
    down: () => {
      state = 'down'
      reset()
    },
    blackHole: () => {
      state = 'swallows'
      for (const socket of near) socket.emit('swallow')
    },
    mend: () => {
      state = 'passes'
    },
    close: async () => {
      const closed = new Promise((done) => server.close(done))
      for (const socket of near) socket.destroy()
      await closed
    },
  }
}

/** Passes everything both ways until either side ends, or until `near` is told to swallow: then both are read on and nothing is said. */
function join(near: Socket, far: Socket): void {
  far.on('error', () => near.destroy())
  near.once('close', () => far.destroy())
  // What a pipe read for an end that is gone is read by nobody: the last of it, and that it was the last, would never be heard.
  far.once('close', () => near.resume())
  near.pipe(far)
  far.pipe(near)
  near.once('swallow', () => {
    near.unpipe(far)
    far.unpipe(near)
    near.resume()
    far.resume()
  })
}

/** Where a proxy listens. */
export function addressOf(server: Server): { host: string; port: number } {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy listens on no port')
  return { host: HOST, port: address.port }
}
