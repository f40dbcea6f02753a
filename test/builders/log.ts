import type { Log } from '../../config/log.ts'

/** A logger that keeps what it is told, for a test that asks whether something was said. */
export function keepLog(): Log & { lines: { level: keyof Log; message: string; fields: Record<string, unknown> }[] } {
  const lines: { level: keyof Log; message: string; fields: Record<string, unknown> }[] = []
  const at = (level: keyof Log) => (fields: object, message: string) => void lines.push({ level, message, fields: { ...fields } })
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
