/** What a request of a crowd was answered, and in how many milliseconds. */
export type Answer = { status: number; retryAfter: string | null; ms: number }

/** One request of a caller that sends a new task and two reads in turn. */
export async function callInTurn(url: string, token: string, round: number): Promise<Answer> {
  const headers = { 'x-api-key': token, 'content-type': 'application/json' }
  const write = { method: 'POST', headers, body: JSON.stringify({ title: `task ${round}` }) }
  const since = performance.now()
  const response = await fetch(new URL(round % 3 === 0 ? '/v1/tasks' : '/v1/tasks?limit=10', url), round % 3 === 0 ? write : { headers })
  await response.text()
  return { status: response.status, retryAfter: response.headers.get('retry-after'), ms: performance.now() - since }
}

/**
 * Statements that find the server connections of a platform whose Shard has its tenants in `database`: `all` of it, those `ofRuntimes`, and those by
 * replica, the most first. $1: the tenants' roles; $2, for `all` alone: the admin login.
 */
export function connectionsIn(database: string): { all: string; ofRuntimes: string; byReplica: string } {
  const byRuntimes = `usename = ANY($1) OR usename LIKE '${database}_runtime_%'`
  const ofRuntimes = `FROM pg_stat_activity WHERE application_name LIKE 'tenantry-runtime/%' AND (${byRuntimes})`
  return {
    all: `SELECT count(*) FROM pg_stat_activity
      WHERE ${byRuntimes} OR (usename = $2 AND (datname LIKE '${database}%' OR datname = ANY($1)))`,
    ofRuntimes: `SELECT count(*) ${ofRuntimes}`,
    byReplica: `SELECT count(*)::int AS count ${ofRuntimes} GROUP BY application_name ORDER BY count DESC`,
  }
}
