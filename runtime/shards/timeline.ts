import type { Statement } from './statement.ts'

/**
 * Which history the server is on, as `<system>/<timeline>`: Postgres counts the timeline up whenever it goes on from a backup or from a
 * standby that was made primary, so from there on it may know less than it once did.
 */
export const findTimeline: Statement = {
  name: 'timeline.find',
  text: () => `SELECT system_identifier || '/' || ${TIMELINE} AS timeline FROM pg_control_system()`,
  values: [],
}

/** An SQL condition: the server is still on the timeline that the parameter names, as `findTimeline` gave it. It costs no look at the disk. */
export function isOnTimeline(parameter: string): string {
  return `${TIMELINE} = split_part(${parameter}, '/', 2)`
}

// The first eight digits of the name of the file that is being written.
const TIMELINE = 'left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)'
