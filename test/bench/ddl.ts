import { Client as Postgres } from 'pg'
import type { Isolation } from '../../crds/tenant.ts'
import {
  announceDatabase,
  closeDatabase,
  copyTemplate,
  dropDatabase,
  fillDatabase,
  forgetDatabase,
  openDatabaseTo,
  retainDatabase,
} from '../../operator/postgres/databases.ts'
import { latest, type Migrations } from '../../operator/postgres/migrations.ts'
import { physicalNames, shardNames } from '../../operator/postgres/names.ts'
import { createRowTenant, dropRowTenant } from '../../operator/postgres/rows.ts'
import { scramVerifier } from '../../operator/postgres/scram.ts'
import { createTenant, dropTenant } from '../../operator/postgres/statements.ts'
import { PLANS } from '../../operator/tenant/limits.ts'
import type { Platform } from './platform.ts'

const DATABASE = 'tenantry'

/** Connections to a Shard, as many as were asked for, and what makes and removes a tenant over them: the DDL and nothing else. */
export type Ddl = { make: (uid: string) => Promise<void>; remove: (uid: string) => Promise<void>; close: () => Promise<void> }

/** Opens them. */
export async function openDdl({ shard }: Platform, isolation: Isolation, migrations: Migrations, connections: number): Promise<Ddl> {
  const { host, port, adminUser: user, adminPassword: password, ca } = shard
  const open = async (database = DATABASE) => {
    const connection = new Postgres({ host, port, user, password, database, ssl: { ca } })
    // When a round fails the platform ends with connections open: the fault of the round is the one to be told.
    connection.on('error', () => {})
    await connection.connect()
    return connection
  }
  const free = await Promise.all(Array.from({ length: connections }, () => open()))
  const all = [...free]
  const waiting: ((connection: Postgres) => void)[] = []
  const run = async (text: string) => {
    const connection = free.pop() ?? (await new Promise<Postgres>((resolve) => waiting.push(resolve)))
    await connection.query(text)
    const next = waiting.shift()
    if (next === undefined) free.push(connection)
    else next(connection)
  }
  const apart = async (database: string, text: string) => {
    const connection = await open(database)
    await connection.query(text)
    await connection.end()
  }
  const names = shardNames(DATABASE)
  const close = async () => {
    await Promise.all(all.map((connection) => connection.end()))
  }
  const identity = (uid: string) => ({ uid, installation: uid, namespace: 'bench', name: uid, epoch: 1 })
  const physical = (uid: string) => physicalNames(isolation, names, uid)
  switch (isolation) {
    case 'row':
      return { make: (uid) => run(createRowTenant(names, identity(uid))), remove: (uid) => run(dropRowTenant(uid)), close }
    case 'schema':
      return {
        make: (uid) => run(createTenant(names, identity(uid), migrations.tenant)),
        remove: (uid) => run(dropTenant(uid, physical(uid).schema, physical(uid).role)),
        close,
      }
    case 'database':
      return {
        make: async (uid) => {
          await run(announceDatabase(identity(uid), physical(uid)))
          await apart(DATABASE, copyTemplate(names, physical(uid)))
          await run(closeDatabase(physical(uid)))
          await apart(physical(uid).database, fillDatabase(identity(uid), physical(uid), names, migrations.tenant))
          const verifier = await scramVerifier('bench')
          await run(openDatabaseTo(physical(uid), uid, latest(migrations.database), { verifier, limits: PLANS.free }, migrations.tenant))
        },
        remove: async (uid) => {
          await run(retainDatabase(uid, physical(uid)))
          await apart(DATABASE, dropDatabase(physical(uid)))
          await run(forgetDatabase(uid, physical(uid)))
        },
        close,
      }
  }
}
