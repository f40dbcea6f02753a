import type { Change } from '../commands/command.ts'
import type { StoredEvent } from '../projections/projection.ts'
import type { Row, Statement, Value } from '../shards/statement.ts'

/**
 * The first half of a feature's save statement, given the schema and its table. It makes `change` out of $3, and `numbered`: the changes
 * whose version still holds, without new ones that there is no room for, `version` being the one before and `next` the one after, with the
 * `position` of their last event. $1 is the tenant, $2 the epoch, $4 how many rows the tenant may have, or NULL. The head must have been
 * locked by the statement before; it knows how many there are. The version is looked up row by row, since a join might be planned, once and
 * for all, as one that reads the whole table.
 */
export function number(schema: string, table: string): string {
  return `change AS (
    SELECT *, jsonb_array_length(events) AS count
    FROM jsonb_to_recordset($3::jsonb) AS c (ordinal int, id uuid, version int, rank int, after jsonb, events jsonb, time timestamptz)
  ), head AS (
    SELECT position, coalesce((counts ->> '${table}')::bigint, (SELECT count(*) FROM ${schema}${table} t WHERE t.tenant_id = $1)) AS total
    FROM tenantry.head WHERE tenant = $1 AND epoch = $2
  ), numbered AS (
    SELECT c.id, c.version, c.version + c.count AS next, c.count, c.after, c.events, c.time,
           h.position + (sum(c.count) OVER (ORDER BY c.ordinal))::bigint AS position
    FROM change c
    JOIN head h ON c.version > 0 OR $4::bigint IS NULL OR h.total + c.rank <= $4::bigint
    WHERE coalesce((SELECT t.version FROM ${schema}${table} t WHERE t.tenant_id = $1 AND t.id = c.id), 0) = c.version
  )`
}

/** The second half: appends the events of `numbered`, advances the head and its number of rows, and gives a row for each change that was written or found no room. */
export function append(schema: string, table: string): string {
  return `appended AS (
    INSERT INTO ${schema}events (tenant_id, position, id, type, aggregate_id, aggregate_version, data, time)
    SELECT $1, n.position - n.count + e.number, (e.event ->> 'id')::uuid, e.event ->> 'type', n.id, n.version + e.number, e.event -> 'data', n.time
    FROM numbered n CROSS JOIN jsonb_array_elements(n.events) WITH ORDINALITY AS e (event, number)
  ), reached AS (
    SELECT max(position) AS position,
           (SELECT total FROM head) + count(*) FILTER (WHERE version = 0) - count(*) FILTER (WHERE after IS NULL) AS total
    FROM numbered
  ), advanced AS (
    UPDATE tenantry.head h SET position = r.position, counts = h.counts || jsonb_build_object('${table}', r.total)
    FROM reached r WHERE h.tenant = $1 AND r.position IS NOT NULL
  )
  SELECT id, next AS version, position, NULL::bigint AS total FROM numbered
  UNION ALL
  SELECT c.id, NULL, NULL, r.total FROM change c JOIN head h ON c.version = 0 AND h.total + c.rank > $4::bigint CROSS JOIN reached r`
}

/** The parameters that `number` and `append` work with; `most`: how many rows the tenant may have, null: any number. */
export function changeValues(tenantUid: string, epoch: number, changes: readonly Change<unknown>[], most: number | null): Value[] {
  let rank = 0
  const ranked = changes.map((change, ordinal) => ({ ordinal, rank: change.version === 0 ? ++rank : 0, ...change }))
  return [tenantUid, epoch, JSON.stringify(ranked), most]
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
