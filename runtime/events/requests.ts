import type { Statement } from '../shards/statement.ts'

/** By this name a save refuses a change whose `Idempotency-Key` has an answer already. */
const REPEATED = 'repeated'

/** For so long an answer is kept for retries. */
const REMEMBERED = "interval '24 hours'"

/** An SQL expression over a change `c`: `repeated`, or what `refusal` says. Under the head's lock, so that of two replicas one is told so. */
export function unlessRepeated(schema: string, refusal: string): string {
  return `CASE WHEN c.asked ? 'record' AND EXISTS (
      SELECT FROM ${schema}idempotency i
      WHERE i.tenant_id = $1 AND i.caller = c.asked ->> 'caller' AND i.key = c.asked #>> '{record,key}' AND i.time > c.time - ${REMEMBERED}) THEN '${REPEATED}'
    ELSE ${refusal} END`
}

/** The part of a save that keeps the answers of `numbered` for retries, and lets two old ones go for each: so they never pile up, and nobody sweeps. */
export function keepAnswers(schema: string): string {
  return `kept AS (
    INSERT INTO ${schema}idempotency AS known (tenant_id, caller, key, fingerprint, aggregate_id, version, position, body, time)
    SELECT $1, n.asked ->> 'caller', r.key, r.fingerprint, n.id, n.next, n.position, r.body, n.time
    FROM numbered n CROSS JOIN jsonb_to_record(n.asked -> 'record') AS r (key text, fingerprint text, body text)
    WHERE n.asked ? 'record'
    ON CONFLICT (tenant_id, caller, key) DO UPDATE SET fingerprint = excluded.fingerprint, aggregate_id = excluded.aggregate_id,
      version = excluded.version, position = excluded.position, body = excluded.body, time = excluded.time
  ), over AS (
    DELETE FROM ${schema}idempotency WHERE tenant_id = $1 AND (caller, key) IN (
      SELECT i.caller, i.key FROM ${schema}idempotency i
      WHERE i.tenant_id = $1 AND i.time < now() - ${REMEMBERED} AND NOT EXISTS (
        SELECT FROM numbered n WHERE n.asked ->> 'caller' = i.caller AND n.asked #>> '{record,key}' = i.key)
      ORDER BY i.time LIMIT (SELECT 2 * count(*) FROM numbered WHERE asked ? 'record'))
  )`
}

/** The answer that is kept under a caller's key: a row `{fingerprint, id, version, position, body}`, or none. */
export function recordOf(tenantUid: string, caller: string, key: string): Statement {
  return {
    name: 'requests.record',
    text: (schema) => `
      SELECT fingerprint, aggregate_id AS id, version, position, body FROM ${schema}idempotency
      WHERE tenant_id = $1 AND caller = $2 AND key = $3 AND time > now() - ${REMEMBERED}`,
    values: [tenantUid, caller, key],
  }
}
