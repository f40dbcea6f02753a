import type { Credentials } from '../../config/routing.ts'
import type { TenantReason } from '../../crds/tenant.ts'
import type { Database } from '../postgres/connect.ts'
import { sqlState } from '../postgres/failure.ts'
import { type Fault, readFaults } from '../postgres/faults.ts'
import { ownLogins } from '../postgres/names.ts'
import { makeNeighbours } from '../postgres/neighbours.ts'
import { repairWall } from '../postgres/repair.ts'
import { grantRows, secureTables } from '../postgres/rows.ts'
import { type Tried, trialOf, tryAll } from '../postgres/walls.ts'
import { loginIn, readLogin } from '../routing/credentials.ts'
import { NEIGHBOURS_MADE } from './repairs.ts'
import type { Target } from './target.ts'

/** What came of the attempt to break in. `unclear`: something kept it from being made, so that it proves nothing. */
export type Verdict =
  | { kind: 'verified'; attempts: number }
  | { kind: 'broken'; reason: TenantReason; what: string[] }
  | { kind: 'unclear'; what: string[] }

type Findings = { tried: Tried; faults: Fault[] }
type Connection = Pick<Database, 'query' | 'run'>

const NO_PRIVILEGE = '42501'

/** How an attempt at one of the Shard's own databases begins. */
export const CONNECT = 'connect to '

/**
 * Tries to break out of a tenant, with its own way to its data: as the runtime's login under the tenant's role, or as the tenant's own
 * login; at a neighbour that is there for this, never at a tenant. Then reads the catalog for what would let others in. Nothing is changed.
 */
export async function verifyTenant(target: Target): Promise<Verdict> {
  const login = await loginOf(target)
  if (login === undefined) return { kind: 'unclear', what: ['the runtime has no login yet'] }
  const { tried, faults } = await findingsOf(target, login)
  const hits = tried.hits.filter(({ of }) => of === null || of === target.identity.uid)
  const told = (as: 'reached' | 'unclear') => hits.filter((hit) => hit.as === as).map(({ what }) => what)
  const what = [...faults.map((fault) => fault.what), ...told('reached')]
  // The catalog names the cause where it shows one.
  if (what.length > 0) return { kind: 'broken', reason: faults[0]?.reason ?? 'NeighbourReached', what }
  const unclear = told('unclear')
  return unclear.length > 0 ? { kind: 'unclear', what: unclear } : { kind: 'verified', attempts: tried.attempts }
}

async function loginOf({ tools, identity, isolation, physical, shard, signal }: Target): Promise<Credentials | undefined> {
  const key = isolation === 'database' ? physical.role : shard
  return loginIn(tools.logins(), key) ?? (await readLogin({ client: tools.client, namespace: identity.namespace, signal }, key))
}

async function findingsOf(target: Target, login: Credentials): Promise<Findings> {
  const { tools, shard, identity, isolation } = target
  if (isolation === 'database') return { tried: await tryOwnLogin(target, login), faults: await faultsOf(target) }
  const look = async (uids: readonly string[]) => ({ tried: await tryRoles(target, login, uids), faults: await faultsOf(target) })
  if (isolation === 'schema') return look([identity.uid])
  // Tenants of the shared tables have one role: those that are looked at together are tried in one transaction.
  tools.leave()
  return tools.connections.shareLook(shard, look, identity.uid)
}

async function tryRoles(target: Target, login: Credentials, uids: readonly string[]): Promise<Tried> {
  const { tools, shard, names, isolation, physical } = target
  const text = tryAll(physical, uids, trialOf(isolation, names))
  const tryOnce = () => tools.connections.asRuntime(shard, loginPart(login), (connection) => attempt(connection, text))
  const tried = await tryOnce()
  return tried.lost.length === 0 ? tried : tools.connections.inTurn(`${shard} neighbours`, () => makeAndTry(target, tryOnce))
}

/** The neighbours of a Shard are there for all its tenants: another pass may have made them anew meanwhile. */
async function makeAndTry({ database, names, tools, tell }: Target, tryOnce: () => Promise<Tried>): Promise<Tried> {
  const tried = await tryOnce()
  if (tried.lost.length === 0) return tried
  await database.run(makeNeighbours(names, tools.migrations.tenant))
  tell(NEIGHBOURS_MADE)
  const again = await tryOnce()
  for (const whose of again.lost) again.hits.push({ of: null, as: 'unclear', what: `the neighbour does not find its own row: ${whose}` })
  return again
}

/** A login of its own is kept in its database: it must not get into the Shard's, nor into what databases are copied from. */
async function tryOwnLogin({ tools, shard, names, identity, physical }: Target, login: Credentials): Promise<Tried> {
  const { connections } = tools
  const as = loginPart(login)
  const text = tryAll(physical, [identity.uid], trialOf('database', names))
  const tried = await connections.apart(shard, physical.database, (own) => attempt(own, text), as)
  for (const other of [names.database, names.template]) {
    tried.attempts += 1
    const outcome = await connections
      .apart(shard, other, (own) => own.run('SELECT 1'), as)
      .then(
        () => 'reached' as const,
        (error: unknown) => (sqlState(error) === NO_PRIVILEGE ? 'refused' : 'unclear'),
      )
    if (outcome !== 'refused') tried.hits.push({ of: null, as: outcome, what: `${CONNECT}${other}` })
  }
  return tried
}

async function attempt(connection: Database, text: string): Promise<Tried> {
  const [row] = await connection.lastRows(text)
  return JSON.parse(String(row?.tried))
}

function faultsOf(target: Target): Promise<Fault[]> {
  return whereTablesAre(target, (database) => readFaults(database, target.physical, memberOf(target), target.isolation === 'row'))
}

/** The one that may act as the tenant's role: the runtime, or the tenant's other login. */
function memberOf({ isolation, names, physical }: Target): string {
  return isolation === 'database' ? ownLogins(physical.role).spare : names.runtime
}

function whereTablesAre<T>(
  { tools, shard, isolation, physical, database }: Target,
  work: (database: Connection) => Promise<T>,
): Promise<T> {
  return isolation === 'database' ? tools.connections.apart(shard, physical.database, work) : work(database)
}

function loginPart({ username, password }: Credentials): { username: string; password: string } {
  return { username, password }
}

/** Takes away what holds the wall open, as far as that loses nothing. */
export function repairTenant(target: Target): Promise<void> {
  const { names, isolation, physical } = target
  const text = repairWall(physical, memberOf(target), isolation === 'row')
  return whereTablesAre(target, (database) => database.run(isolation === 'row' ? `${text}\n${grantRows(names)}\n${secureTables()}` : text))
}
