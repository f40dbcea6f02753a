import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { createInterface } from 'node:readline'

/** A port of this machine that leads to one pod at a time, and to another one when that is gone. */
export type Forward = { url: string; close: () => void }

/** Gives the pods that may be led to; those that another forward leads to are left out by whoever gives them. */
export type Candidates = () => Promise<string[]>

type Link = { pod: string; port: number; child: ChildProcess }

const RETRY_MS = 200

/** Where a forward leads: to a port, of one of these pods, that answers HTTP. `file` always holds the name of the pod, for those who want to do something to it. */
export type Target = { kubeconfig: string; candidates: Candidates; taken: Set<string>; port: number; file: string }

/** Opens one. */
export async function openForward(target: Target): Promise<Forward> {
  let link: Promise<Link> | undefined
  let closed = false
  const relink = (): Promise<Link> => {
    link ??= findLink(target, () => closed).then(async (found) => {
      await writeFile(target.file, found.pod)
      found.child.once('exit', () => {
        target.taken.delete(found.pod)
        link = undefined
        if (!closed) void relink()
      })
      return found
    })
    return link
  }
  const server = serve(relink)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  await relink()
  const address = server.address()
  const close = () => {
    closed = true
    server.close()
    void link?.then(({ child }) => child.kill())
  }
  return { url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`, close }
}

function serve(linkNow: () => Promise<Link>): Server {
  return createServer((incoming) => {
    incoming.on('error', () => undefined)
    void living(linkNow).then(({ port }) => {
      const outgoing = connect(port, '127.0.0.1')
      outgoing.on('error', () => incoming.destroy())
      outgoing.on('close', () => incoming.destroy())
      incoming.on('close', () => outgoing.destroy())
      incoming.pipe(outgoing).pipe(incoming)
    })
  })
}

// kubectl notices that its pod is gone when somebody connects, whom it then hangs up on: let that not be a caller.
async function living(linkNow: () => Promise<Link>): Promise<Link> {
  for (;;) {
    const link = await linkNow()
    const answered = await fetch(`http://127.0.0.1:${link.port}/health`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    await answered?.arrayBuffer()
    if (answered !== undefined) return link
    if (link.child.exitCode === null && link.child.signalCode === null && link.child.kill()) await once(link.child, 'exit')
  }
}

async function findLink({ kubeconfig, candidates, taken, port }: Target, closed: () => boolean): Promise<Link> {
  for (;;) {
    const pod = (await candidates().catch(() => [])).find((name) => !taken.has(name))
    if (closed()) throw new Error('closed')
    if (pod !== undefined) {
      taken.add(pod)
      const link = await startLink(kubeconfig, pod, port)
      if (link !== undefined) return link
      taken.delete(pod)
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

/** `kubectl port-forward` on a free port; it ends with its pod. Undefined when it does not come about. */
async function startLink(kubeconfig: string, pod: string, remote: number): Promise<Link | undefined> {
  const child = spawn('kubectl', ['--kubeconfig', kubeconfig, 'port-forward', `pod/${pod}`, `:${remote}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const port = await new Promise<number | undefined>((resolve) => {
    child.once('exit', () => resolve(undefined))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [, found] = /127\.0\.0\.1:(\d+) ->/.exec(line) ?? []
      if (found !== undefined) resolve(Number(found))
    })
  })
  return port === undefined ? undefined : { pod, port, child }
}
