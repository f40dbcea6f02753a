import type { Log } from '../../config/log.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import { openDatabase } from '../postgres/connect.ts'
import { shardNames } from '../postgres/names.ts'
import { dropSpare, readSpares } from '../postgres/spares.ts'
import { dropLogins } from '../postgres/statements.ts'
import { writeLogin } from '../routing/credentials.ts'
import { observeShard, type Shard, type ShardSources } from './observe.ts'

type ReleaseTools = ShardSources & { recorder: Recorder; log: Log }

/**
 * Takes back what was made for tenants to come, of a Shard that goes and that no Tenant lives on: the runtime's password, its logins, ready
 * schemas. Data that is kept stays, with all it is kept by. A server that is away does not hold the Shard: an Event says what is left there.
 */
export async function releaseShard(tools: ReleaseTools, shard: Shard, signal: AbortSignal): Promise<void> {
  const { name, namespace } = shard.metadata
  await writeLogin({ client: tools.client, namespace, signal }, name, undefined)
  try {
    await tidyUp(tools, shard, signal)
  } catch (error) {
    tools.log.warn({ shard: name, err: error }, 'a Shard goes whose server was not tidied up')
    const { login, spare, database } = shardNames(shard.spec.endpoint.database)
    const left = `the logins ${login} and ${spare}, and the schemas in tenantry.spares of database ${database}`
    await tools.recorder.record(shard, 'Warning', 'LeftOnServer', `Left on the server, which could not be reached: ${left}.`)
  }
}

/** Looks anew whose the database is: a Shard that was refused has nothing there. */
async function tidyUp(tools: ReleaseTools, shard: Shard, signal: AbortSignal): Promise<void> {
  const { access, names, database: facts, mark, formerMark } = await observeShard(tools, shard, signal)
  if (facts?.mark !== mark && facts?.mark !== formerMark) return
  const database = openDatabase(access)
  try {
    await database.run(dropLogins(names))
    for (const spare of await readSpares(database)) await database.run(dropSpare(spare.name))
  } finally {
    await database.close()
  }
}
