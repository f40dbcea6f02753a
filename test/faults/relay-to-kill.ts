import type { Credentials, ShardEndpoint } from '../../config/routing.ts'
import { Jetstream } from '../../runtime/events/jetstream.ts'
import { Relay } from '../../runtime/events/relay.ts'
import { DEFAULT_SESSION } from '../../runtime/shards/endpoint.ts'
import { createSession } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'

type Settings = {
  /** Before a page's events are all published, or when they are and the mark is not written yet. */
  point: 'publish' | 'mark'
  url: string
  stream: string
  prefix: string
  shard: string
  endpoint: ShardEndpoint
  credentials: Credentials
  /** Of a tenant with a database of its own. */
  login?: Credentials
  tenant: TenantContext
}

const PAGE = 256

/** A process that relays one tenant's events and ends itself with SIGKILL, on the way, as a crash would. */
function main(settings: Settings): void {
  const ignore = () => undefined
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore }
  const session = createSession({
    endpoint: () => settings.endpoint,
    credentials: () => settings.credentials,
    login: () => settings.login,
    settings: DEFAULT_SESSION,
    log,
  })
  const jetstream = new Jetstream({ url: settings.url, stream: settings.stream, prefix: settings.prefix, log })
  const killAfter = settings.point === 'publish' ? PAGE / 2 : PAGE
  let published = 0
  const publish: Jetstream['publish'] = async (...event) => {
    await jetstream.publish(...event)
    published += 1
    if (published >= killAfter) process.kill(process.pid, 'SIGKILL')
  }
  const { tenant } = settings
  const proxy = {
    get isConnected() {
      return jetstream.isConnected
    },
    publish,
  }
  const apart = () => (tenant.route.isolation === 'database' ? [tenant] : [])
  const shards = () => [settings.shard]
  new Relay({ session, jetstream: proxy, prefix: settings.prefix, shards, route: () => tenant, apart, log, pollEvery: 20, sweepEvery: 20 })
}

main(JSON.parse(process.argv[2] ?? '{}'))
