import { hostname } from 'node:os'
import { parseArgs } from 'node:util'
import { connect } from '../../operator/kubernetes/client.ts'
import { holdLease } from '../../operator/kubernetes/lease.ts'

/*
 * A replica that wants to lead, as a process of its own: prints a line of JSON when it waits, holds and loses the lease; on SIGTERM it
 * gives the lease back and ends with 0; when the lease is lost it ends with 1, like the operator.
 */
const { values } = parseArgs({
  options: { kubeconfig: { type: 'string' }, namespace: { type: 'string' }, times: { type: 'string', default: '{}' } },
})
const { kubeconfig = '', namespace = 'default', times } = values
const client = connect({ kubeconfig })
const stop = new AbortController()
const identity = `${hostname()}_${process.pid}`

process.once('SIGTERM', () => stop.abort(new Error('SIGTERM')))
say('waits')
const held = await holdLease({
  client,
  namespace,
  name: 'failover',
  identity,
  ...JSON.parse(times),
  signal: stop.signal,
  log: quiet(),
}).catch(() => process.exit(0))
say('holds')
held.lost.addEventListener('abort', () => {
  say('lost')
  process.exit(1)
})
stop.signal.addEventListener('abort', async () => {
  await held.release()
  say('released')
  process.exit(0)
})
if (stop.signal.aborted) await held.release().then(() => process.exit(0))

function say(event: string): void {
  process.stdout.write(`${JSON.stringify({ event, identity, at: Date.now() })}\n`)
}

function quiet() {
  const write = () => {}
  return { debug: write, info: write, warn: write, error: write }
}
