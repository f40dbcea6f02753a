import { setTimeout as pause } from 'node:timers/promises'
import { type ProxiedCall, startApiProxy } from './api-proxy.ts'
import { type Statement, startPostgresProxy } from './postgres-proxy.ts'

/** Where an operator is stopped: before the n-th write is executed, or when it was and the answer is still on its way. From 1. */
export type Cut = { at: number; how: 'before' | 'unheard' }

/**
 * Stands between an operator and both its servers, and counts what it writes there as one sequence: calls that change objects, and query
 * strings without parameters. Reads, Events, the Lease and what keeps a Shard itself are not counted: nothing of a Tenant rests on them.
 */
export type Cutter = AsyncDisposable & {
  /** A kubeconfig, and the address of Postgres, that lead through it. */
  kubeconfig: string
  postgres: { host: string; port: number }
  /** What was written since `watch` or `cut`. */
  writes: string[]
  /** Counts from here, and lets everything pass. */
  watch: () => void
  /** Counts from here. Resolves with the write at which everything has come to a stop: nothing passes any more until `watch`. */
  cut: (cut: Cut) => Promise<string>
}

/** Starts both proxies. */
export async function startCutter(kubeconfig: string, server: { host: string; port: number }): Promise<Cutter> {
  let writes: string[] = []
  let wanted: Cut | undefined
  let stopped = false
  let reached = (_: string) => {}

  /** True when this write is the one. */
  function isCut(what: string): boolean {
    writes.push(what)
    stopped = writes.length === wanted?.at
    return stopped
  }

  const api = await startApiProxy(kubeconfig)
  api.fail((call) => stopped && !call.watch, { kind: 'silence' })
  const cutCall = (how: Cut['how']) => (call: ProxiedCall) => {
    if (wanted?.how !== how || !isWrite(call) || !isCut(`${call.method} ${call.path}`)) return false
    void told(call, how).then(reached)
    return true
  }
  api.fail(cutCall('before'), { kind: 'silence' })
  api.fail(cutCall('unheard'), { kind: 'hold-answer' })
  api.fail(
    (call) => {
      if (wanted === undefined && isWrite(call)) isCut(`${call.method} ${call.path}`)
      return false
    },
    { kind: 'silence' },
  )

  const postgres = await startPostgresProxy(server, (statement) => {
    const text = `${statement.database}: ${statement.text}`
    if (stopped) return { kind: 'silence' }
    if (!isOfTenant(statement) || !isCut(text)) return { kind: 'pass' }
    if (wanted?.how === 'unheard') return { kind: 'hold-answer', executed: () => reached(text) }
    reached(text)
    return { kind: 'silence' }
  })

  function begin(cut: Cut | undefined): void {
    writes = []
    wanted = cut
    stopped = false
  }

  return {
    kubeconfig: api.kubeconfig,
    postgres: { host: postgres.host, port: postgres.port },
    get writes() {
      return writes
    },
    watch: () => begin(undefined),
    cut: (cut) => {
      begin(cut)
      const { promise, resolve } = Promise.withResolvers<string>()
      reached = resolve
      return promise
    },
    [Symbol.asyncDispose]: async () => {
      await postgres[Symbol.asyncDispose]()
      await api[Symbol.asyncDispose]()
    },
  }
}

const isWrite = ({ method, path }: ProxiedCall) => method !== 'GET' && !/\/(leases|shards|events)\b/.test(path)
const isOfTenant = ({ text }: Statement) => !text.startsWith('INSERT INTO tenantry.spares')

/** Resolves when the call was executed; at once when it never will be. */
async function told(call: ProxiedCall, how: Cut['how']): Promise<string> {
  while (how === 'unheard' && call.status === undefined) await pause(2)
  return `${call.method} ${call.path}`
}
