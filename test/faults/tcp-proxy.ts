import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A proxy that knows nothing of what it carries. */
export type TcpProxy = AsyncDisposable & {
  port: number
  /** Nothing passes any more on the connections that are open now; none of them is closed. New ones work. */
  blackHole: () => void
  /** Connections that were opened so far. */
  opened: () => number
}

/** Starts a TCP proxy on 127.0.0.1 to a port of this machine. */
export async function startTcpProxy(to: number): Promise<TcpProxy> {
  const pairs = new Set<[Socket, Socket]>()
  let opened = 0
  const server = createServer((near) => {
    opened += 1
    const far = connect(to, '127.0.0.1')
    pairs.add([near, far])
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('error', () => into.destroy())
      from.pipe(into)
    }
  })
  const { promise: listening, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await listening
  return {
    port: portOf(server.address()),
    opened: () => opened,
    blackHole: () => {
      for (const [near, far] of pairs) {
        near.unpipe(far)
        far.unpipe(near)
        // Read on and forget, as a network does that loses everything: a client that ends its side hears nothing back.
        near.resume()
        far.resume()
      }
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((done) => server.close(done))
      for (const sockets of pairs) for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === 'string') throw new Error('the proxy listens on no port')
  return address.port
}
