import { time } from '../columns.ts'

/** The lines of what was done, which stand with its events: each on the last event of its command. */
export function linesDone(schema: string): string {
  return `SELECT position, 0::bigint AS number, id, time, caller, command AS action, 'done' AS result, aggregate_id AS target, request_id
          FROM ${schema}events`
}

/** The lines that left no event. Both have the position of the head for their order, and of one position the event comes first. */
export function linesBeside(schema: string): string {
  return `SELECT position, number, id, time, caller, action, result, target, request_id FROM ${schema}audit`
}

/** The JSON of a line. */
export const LINE = `json_build_object('id', id, 'time', ${time('time')}, 'actor', caller, 'action', action, 'result', result,
                 'target', target, 'requestId', request_id)::text`
