import { pino } from 'pino'

type Write = (fields: object, message: string) => void

/** What the program is told to write with: one JSON line each. Fields never hold a credential. */
export type Log = { debug: Write; info: Write; warn: Write; error: Write }

/** How much is written. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** The process's log, with a way to write out what is still buffered before it ends. */
export type ProcessLog = Log & { flush: () => void }

// A second line of defence: nothing should log headers, but if it does, the credentials in them stay out.
const CREDENTIALS = ['headers["x-api-key"]', 'headers.authorization', 'password', 'credentials', '*.password', '*.credentials']

/** JSON lines on standard output. Lines are gathered for a moment, so that a busy server does not wait for its log. */
export function createLog(level: LogLevel): ProcessLog {
  const destination = pino.destination({ dest: 1, sync: false, minLength: 4096, periodicFlush: 200 })
  const log = pino(
    {
      level,
      base: { program: 'runtime', pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: CREDENTIALS,
      serializers: { error: pino.stdSerializers.errWithCause },
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
