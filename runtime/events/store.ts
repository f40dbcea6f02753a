import { QUOTAS, type Quota } from '../../config/routing.ts'
import type { Change, Most } from '../commands/command.ts'
import type { StoredEvent } from '../projections/projection.ts'
import type { Row, Statement, Value } from '../shards/statement.ts'
import { keepAnswers, unlessRepeated } from './requests.ts'

/** Where a feature's rows stand, and the columns that are shown of them: as JSON they are the tenant's data. */
export type Stored = { table: Quota; columns: string }

/**
 * The first half of a feature's save statement, given the schema and what it stores. It makes `change` out of $3: the changes whose version
 * still holds, each with its `refusal`, an SQL expression over the change `c` that says by its name what the change may not do, or is NULL. And
 * `numbered`: those that are not refused and find room, `version` being the one before and `next` the one after, with the `position` of
 * their last event. $1 is the tenant, $2 the epoch, $4 how many rows the tenant may have, $5 how many bytes of data in all, or NULL. The head,
 * which knows how many there are, must have been locked by the statement before, so that what a refusal goes by stays true until the commit.
 * The version is looked up row by row, since a join might be planned, once and for all, as one that reads the whole table.
 */
export function number(schema: string, { table, columns }: Stored, refusal: string): string {
  return `head AS (
    SELECT position, ${rowsOf(schema, table)} AS total, ${bytesOf(schema, table, columns)} AS bytes, ${dataBytes(table)} AS others
    FROM tenantry.head WHERE tenant = $1 AND epoch = $2
  ), change AS (
    SELECT *, jsonb_array_length(events) AS count, ${unlessRepeated(schema, `coalesce(${refusal}, ${FULL})`)} AS refusal
    FROM jsonb_to_recordset($3::jsonb) AS c (ordinal int, id uuid, version int, rank int, after jsonb, events jsonb, time timestamptz,
                                             growth bigint, "needsRoom" boolean, asked jsonb)
    WHERE coalesce((SELECT t.version FROM ${schema}${table} t WHERE t.tenant_id = $1 AND t.id = c.id), 0) = c.version
  ), numbered AS (
    SELECT c.id, c.version, c.version + c.count AS next, c.count, c.after, c.events, c.time, c.growth, c.asked,
           h.position + (sum(c.count) OVER (ORDER BY c.ordinal))::bigint AS position
    FROM change c
    JOIN head h ON c.version > 0 OR $4::bigint IS NULL OR h.total + c.rank <= $4::bigint OR h.total + c.rank - ${NOT_NEW} <= $4::bigint
    WHERE c.refusal IS NULL
  )`
}

/** How many rows of a table the tenant $1 has, where its head is read: the head knows, but for what was made before anybody kept the number. */
export function rowsOf(schema: string, table: Quota): string {
  return `coalesce((counts ->> '${table}')::bigint, (SELECT count(*) FROM ${schema}${table} t WHERE t.tenant_id = $1))`
}

/** How many bytes of data the head knows of, in all tables but that one: what has no number yet gets one by the next save in its table. */
export function dataBytes(other?: Quota): string {
  const tables = QUOTAS.filter((table) => table !== other)
  return tables.map((table) => `coalesce((counts ->> '${table}Bytes')::bigint, 0)`).join(' + ')
}

function bytesOf(schema: string, table: Quota, columns: string): string {
  const shown = `(SELECT row_to_json(shown) FROM (SELECT ${columns}) shown)::text`
  return `coalesce((counts ->> '${table}Bytes')::bigint, (SELECT sum(octet_length(${shown})) FROM ${schema}${table} t WHERE t.tenant_id = $1), 0)::bigint`
}

// Not by what the change would add: of several in one commit each is then told the same, whatever the others are.
const FULL = `CASE WHEN c."needsRoom" AND (SELECT h.bytes + h.others FROM head h) >= $5::bigint THEN 'storage' END`

// Of the new ones before `c`, by which its rank counts, those that take no room after all: only looked at where room is scarce.
const NOT_NEW = '(SELECT count(*) FROM change r WHERE r.version = 0 AND r.refusal IS NOT NULL AND r.ordinal < c.ordinal)'

/**
 * The second half, of the same table: appends the events of `numbered`, the last of each with who has asked for it, keeps answers for
 * retries, and advances the head and its numbers of rows and bytes.
 */
export function append(schema: string, table: Quota): string {
  return `appended AS (
    INSERT INTO ${schema}events (tenant_id, position, id, type, aggregate_id, aggregate_version, data, time, command, caller, request_id)
    SELECT $1, n.position - n.count + e.number, (e.event ->> 'id')::uuid, e.event ->> 'type', n.id, n.version + e.number, e.event -> 'data', n.time,
           last.asked ->> 'command', last.asked ->> 'caller', last.asked ->> 'requestId'
    FROM numbered n CROSS JOIN jsonb_array_elements(n.events) WITH ORDINALITY AS e (event, number)
    LEFT JOIN LATERAL (SELECT n.asked WHERE e.number = n.count) last ON true
  ), ${keepAnswers(schema)}, reached AS (
    SELECT max(position) AS position,
           (SELECT total FROM head) + count(*) FILTER (WHERE version = 0) - count(*) FILTER (WHERE after IS NULL) AS total,
           (SELECT bytes FROM head) + sum(growth) AS bytes
    FROM numbered
  ), advanced AS (
    UPDATE tenantry.head h SET position = r.position, counts = h.counts || jsonb_build_object('${table}', r.total, '${table}Bytes', CASE r.total WHEN 0 THEN 0 ELSE greatest(r.bytes, 0) END)
    FROM reached r WHERE h.tenant = $1 AND r.position IS NOT NULL
  )`
}

/** The end: where each change stands now, or by what it was refused: `quota`, with the number of rows there are, when there was no room. */
export const saved = `SELECT id, next AS version, position, NULL AS refusal, NULL::bigint AS total FROM numbered
      UNION ALL SELECT id, NULL, NULL, refusal, NULL FROM change WHERE refusal IS NOT NULL
      UNION ALL SELECT c.id, NULL, NULL, 'quota', r.total FROM change c JOIN head h ON c.version = 0 AND h.total + c.rank > $4::bigint
      CROSS JOIN reached r WHERE c.refusal IS NULL AND NOT EXISTS (SELECT FROM numbered n WHERE n.id = c.id)`

/** The parameters that `number` and `append` work with. */
export function changeValues(tenantUid: string, epoch: number, changes: readonly Change<unknown>[], { rows, bytes }: Most): Value[] {
  let rank = 0
  const ranked = changes.map((change, ordinal) => ({ ordinal, rank: change.version === 0 ? ++rank : 0, ...change }))
  return [tenantUid, epoch, JSON.stringify(ranked), rows, bytes]
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
