import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { holdLease } from '../../operator/kubernetes/lease.ts'
import { CONFIG_MAPS, LEASES } from '../../operator/kubernetes/object.ts'
import { watch } from '../../operator/kubernetes/watch.ts'
import { createNamespace } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { keepLog } from '../builders/log.ts'
import { startTcpProxy, type TcpProxy } from '../faults/tcp-proxy.ts'

const PATIENCE = { timeout: 30_000, interval: 20 }

let proxy: TcpProxy
let client: Client
let direct: Client
let namespace: string
let folder: string
const stop = new AbortController()

// Between the client and the API server's TLS port, so that what dies are the connections of production, not those of a proxy that speaks HTTP.
beforeAll(async () => {
  const { server, kubeconfig } = inject('kubernetes')
  const { hostname, port } = new URL(server)
  proxy = await startTcpProxy({ host: hostname, port: Number(port) })
  folder = await mkdtemp(join(tmpdir(), 'connection-'))
  const file = join(folder, 'kubeconfig')
  await writeFile(file, (await readFile(kubeconfig, 'utf8')).replaceAll(`:${port}`, `:${proxy.port}`))
  direct = connect({ kubeconfig })
  client = connect({ kubeconfig: file, callMs: 2_000 })
  namespace = await createNamespace()
})
afterAll(async () => {
  stop.abort(new Error('the tests are over'))
  await client.close()
  await direct.close()
  await proxy.close()
  await rm(folder, { recursive: true, force: true })
})

test('connections are kept: a hundred calls in a row need one', async () => {
  await client.apply(CONFIG_MAPS, namespace, { metadata: { name: 'one' } })
  const before = proxy.opened()
  for (let i = 0; i < 100; i++) await client.get(CONFIG_MAPS, namespace, 'one')
  expect(proxy.opened() - before).toBeLessThanOrEqual(1)
})

test('OP-07: when every connection dies silently, calls, watch and lease go on over new ones', async () => {
  const log = keepLog()
  const store = watch(client, CONFIG_MAPS, namespace, { onChange: () => {}, timeoutSeconds: 2, idleMs: 3_000, signal: stop.signal, log })
  await store.synced
  const times = { durationMs: 8_000, renewDeadlineMs: 6_000, retryMs: 500 }
  const lease = await holdLease({ client, namespace, name: 'lease', identity: 'one', ...times, signal: stop.signal, log })
  await client.get(CONFIG_MAPS, namespace, 'one')
  proxy.blackHole()
  proxy.mend()
  const since = performance.now()
  await direct.apply(CONFIG_MAPS, namespace, { metadata: { name: 'during' } })
  const call = client.get(CONFIG_MAPS, namespace, 'one').catch(() => client.get(CONFIG_MAPS, namespace, 'one'))
  await vi.waitFor(() => expect(store.get('during')).toBeDefined(), PATIENCE)
  const blindMs = performance.now() - since
  expect(blindMs).toBeLessThan(8_000)
  expect((await call)?.metadata.name).toBe('one')
  await vi.waitFor(() => expect(log.lines.some(({ message }) => message === 'the lease could not be renewed')).toBe(true), PATIENCE)
  const { renewTime } = (await direct.get(LEASES, namespace, 'lease'))?.spec ?? {}
  await vi.waitFor(async () => expect((await direct.get(LEASES, namespace, 'lease'))?.spec?.renewTime).not.toBe(renewTime), PATIENCE)
  expect(lease.lost.aborted).toBe(false)
  await lease.release()
  printFigure(`OP-07 (all TCP connections black-holed under TLS, idle time 3 s): blind for ${(blindMs / 1000).toFixed(2)} s, lease kept`)
})
