import type { Logger } from '../../operator/loop/logger.ts'

/** A logger that keeps what it is told, for a test that asks whether something was said. */
export function keepLog(): Logger & { lines: { level: keyof Logger; message: string; fields: Record<string, unknown> }[] } {
  const lines: { level: keyof Logger; message: string; fields: Record<string, unknown> }[] = []
  const at = (level: keyof Logger) => (fields: Record<string, unknown>, message: string) => void lines.push({ level, message, fields })
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
