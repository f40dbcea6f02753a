import { readFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { openAuthority } from '../../config/local/certificates.ts'

/** A server that publishes a key set over https. */
export type KeyServer = {
  address: string
  /** The certificate authority, for `NODE_EXTRA_CA_CERTS`. */
  authorityFile: string
  /** Requests so far. */
  requests: number
  /** What is published. */
  keys: object
  /** True: every request fails. */
  down: boolean
  close: () => void
}

/** Starts one on a free port, with its certificates in `folder`. */
export async function startKeyServer(folder: string, keys: object): Promise<KeyServer> {
  const authority = await openAuthority(folder, 'test')
  const { certificateFile, keyFile } = await authority.issue('jwks', { name: 'jwks', hosts: ['localhost'] })
  const server = createServer({ cert: await readFile(certificateFile), key: await readFile(keyFile) }, (request, response) => {
    state.requests += 1
    if (state.down) request.socket.destroy()
    else response.end(JSON.stringify(state.keys))
  })
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  const { port } = server.address() as AddressInfo
  const state: KeyServer = {
    address: `https://localhost:${port}/jwks`,
    authorityFile: authority.certificateFile,
    requests: 0,
    keys,
    down: false,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
  return state
}
