import type { Client } from '../kubernetes/client.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import type { Logger } from '../loop/logger.ts'
import type { Connections } from '../postgres/connections.ts'
import { shardNames } from '../postgres/names.ts'
import { dropSpare, readSpares } from '../postgres/spares.ts'
import { closeLogins } from '../postgres/statements.ts'
import { writeLogin } from '../routing/credentials.ts'
import type { Shard } from './observe.ts'

type ReleaseTools = { client: Client; connections: Connections; recorder: Recorder; log: Logger }

/**
 * Takes back what was made for tenants to come, of a Shard that goes and that no Tenant lives on: the runtime's password, its logins, ready
 * schemas. Data that is kept stays, with all it is kept by. A server that is away does not hold the Shard: an Event says what is left there.
 */
export async function releaseShard({ client, connections, recorder, log }: ReleaseTools, shard: Shard, signal: AbortSignal): Promise<void> {
  const { name, namespace } = shard.metadata
  await writeLogin({ client, namespace, signal }, name, undefined)
  const database = connections.database(name)
  const names = shardNames(shard.spec.endpoint.database)
  try {
    if (database === undefined) throw new Error('the Shard has not been well since the operator began')
    await database.run(closeLogins(names))
    for (const spare of await readSpares(database)) await database.run(dropSpare(spare.name))
  } catch (error) {
    log.warn({ shard: name, err: error }, 'a Shard goes whose server was not tidied up')
    const left = `the logins ${names.login} and ${names.spare}, and the schemas in tenantry.spares of database ${names.database}`
    await recorder.record(shard, 'Warning', 'LeftOnServer', `Left on the server, which could not be reached: ${left}.`)
  }
}
