import { pino } from 'pino'
import type { Logger } from './loop/logger.ts'

/** How much is written. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** The process's log, with a way to write out what is still buffered before it ends. */
export type ProcessLog = Logger & { flush: () => void }

// A second line of defence: nothing should log these, but if it does, they stay out. Statements carry verifiers.
const CREDENTIALS = ['password', 'token', 'data', 'stringData', '*.password', '*.token', '*.data', '*.stringData', 'err.query', 'err.where']

/** JSON lines on standard output. */
export function createLog(level: LogLevel): ProcessLog {
  const destination = pino.destination({ dest: 1, sync: false, minLength: 4096, periodicFlush: 200 })
  const log = pino(
    {
      level,
      base: { program: 'operator', pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: CREDENTIALS,
      serializers: { err: pino.stdSerializers.errWithCause },
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
