import { once } from 'node:events'
import { connect } from 'node:net'
import { HOST } from './server.ts'

const PROBE_MS = 2_000

/** Connects to a local port, sends `text` if any, and returns the first bytes of the answer. Rejects when none comes within two seconds. */
export async function exchange(port: number, text = ''): Promise<string> {
  const socket = connect({ host: HOST, port })
  try {
    const signal = AbortSignal.timeout(PROBE_MS)
    await once(socket, 'connect', { signal })
    if (text !== '') socket.write(text)
    const [answer]: Buffer[] = await once(socket, 'data', { signal })
    return answer?.toString('utf8') ?? ''
  } finally {
    socket.destroy()
  }
}

/** True when something listens on that local port. */
export async function listens(port: number): Promise<boolean> {
  const socket = connect({ host: HOST, port })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(PROBE_MS) })
    return true
  } finally {
    socket.destroy()
  }
}
