import type { Change } from '../commands/command.ts'
import type { StoredEvent } from '../projections/projection.ts'
import type { Row, Statement, Value } from '../shards/statement.ts'
import { keepAnswers, unlessRepeated } from './requests.ts'

/**
 * The first half of a feature's save statement, given the schema and its table. It makes `change` out of $3: the changes whose version still
 * holds, each with its `refusal`, an SQL expression over the change `c` that says by its name what the change may not do, or is NULL. And
 * `numbered`: those that are not refused, `version` being the one before and `next` the one after, with the `position` of their last event.
 * $1 is the tenant, $2 the epoch. The head must have been locked by the statement before, so that what a refusal goes by stays true until the
 * commit. The version is looked up row by row, since a join might be planned, once and for all, as one that reads the whole table.
 */
export function number(schema: string, table: string, refusal = 'NULL::text'): string {
  return `change AS (
    SELECT *, jsonb_array_length(events) AS count, ${unlessRepeated(schema, refusal)} AS refusal
    FROM jsonb_to_recordset($3::jsonb) AS c (ordinal int, id uuid, version int, after jsonb, events jsonb, time timestamptz,
                                               command text, caller text, request_id text, record jsonb)
    WHERE coalesce((SELECT t.version FROM ${schema}${table} t WHERE t.tenant_id = $1 AND t.id = c.id), 0) = c.version
  ), numbered AS (
    SELECT c.id, c.version, c.version + c.count AS next, c.count, c.after, c.events, c.time, c.command, c.caller, c.request_id, c.record,
           h.position + (sum(c.count) OVER (ORDER BY c.ordinal))::bigint AS position
    FROM change c
    JOIN tenantry.head h ON h.tenant = $1 AND h.epoch = $2
    WHERE c.refusal IS NULL
  )`
}

/** The second half: appends the events of `numbered`, the last of each with who has asked for it, keeps answers, and advances the head. */
export function append(schema: string): string {
  return `appended AS (
    INSERT INTO ${schema}events (tenant_id, position, id, type, aggregate_id, aggregate_version, data, time, command, caller, request_id)
    SELECT $1, n.position - n.count + e.number, (e.event ->> 'id')::uuid, e.event ->> 'type', n.id, n.version + e.number, e.event -> 'data', n.time,
           asked.command, asked.caller, asked.request_id
    FROM numbered n CROSS JOIN jsonb_array_elements(n.events) WITH ORDINALITY AS e (event, number)
    LEFT JOIN LATERAL (SELECT n.command, n.caller, n.request_id WHERE e.number = n.count) asked ON true
  ), ${keepAnswers(schema)}, advanced AS (
    UPDATE tenantry.head SET position = (SELECT max(position) FROM numbered)
    WHERE tenant = $1 AND EXISTS (SELECT FROM numbered)
  )`
}

/** The end: where each change stands now, or by what it was refused. */
export const saved = `SELECT id, next AS version, position, NULL AS refusal FROM numbered
      UNION ALL SELECT id, NULL, NULL, refusal FROM change WHERE refusal IS NOT NULL`

/** The parameters that `number` and `append` work with. */
export function changeValues(tenantUid: string, epoch: number, changes: readonly Change<unknown>[]): Value[] {
  return [
    tenantUid,
    epoch,
    JSON.stringify(changes.map(({ requestId, ...change }, ordinal) => ({ ordinal, request_id: requestId, ...change }))),
  ]
}

/** What `toStoredEvent` reads. */
export const EVENT_COLUMNS = `position, id, type, aggregate_id AS "aggregateId", aggregate_version AS "aggregateVersion", data,
             to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS time`

/** The events behind position `after`, in order, at most `limit`. */
export function eventsAfter(tenantUid: string, after: number, limit: number): Statement {
  return {
    name: 'events.after',
    text: (schema) => `
      SELECT ${EVENT_COLUMNS}
      FROM ${schema}events WHERE tenant_id = $1 AND position > $2 ORDER BY position LIMIT $3`,
    values: [tenantUid, after, limit],
  }
}

/** Turns a row of `eventsAfter` into an event. */
export function toStoredEvent(tenantUid: string, row: Row): StoredEvent {
  return {
    tenantUid,
    position: Number(row.position),
    id: String(row.id),
    type: String(row.type),
    aggregateId: String(row.aggregateId),
    aggregateVersion: Number(row.aggregateVersion),
    data: Object(row.data),
    time: String(row.time),
  }
}
