import { pino } from 'pino'

type Write = (fields: object, message: string) => void

/** What a program is told to write with: one JSON line each. Fields never hold a credential. */
export type Log = { debug: Write; info: Write; warn: Write; error: Write }

/** How much is written, from all to nothing. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** A process's log, with a way to write out what is still buffered before it ends. */
export type ProcessLog = Log & { flush: () => void }

// A second line of defence: nothing should log these, but if it does, they stay out. Statements carry verifiers, requests keys. Errors are the
// only objects that are logged; a wildcard for any other would take half of the time of a line (measured).
const SECRET = ['password', 'token', 'credentials', 'data', 'stringData', 'query', 'where']
const ERRORS = ['err', 'error', 'err.cause', 'error.cause'].flatMap((error) => SECRET.map((name) => `${error}.${name}`))
const HIDDEN = [...SECRET, ...ERRORS, 'headers["x-api-key"]', 'headers.authorization']

/** JSON lines on standard output. Lines are gathered for a moment, so that a busy process does not wait for its log. */
export function createLog(program: string, level: LogLevel): ProcessLog {
  const destination = pino.destination({ dest: 1, sync: false, minLength: 4096, periodicFlush: 200 })
  const withCause = pino.stdSerializers.errWithCause
  const log = pino(
    {
      level,
      base: { program, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: HIDDEN,
      serializers: { err: withCause, error: withCause },
    },
    destination,
  )
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    flush: () => destination.flushSync(),
  }
}
