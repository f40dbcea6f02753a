import { readFileSync } from 'node:fs'
import { join } from 'node:path'

// One level above this file, and above the program where it is bundled as one.
const { version }: { version: string } = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8'))

/** The version of both programs, as package.json has it. */
export const VERSION = version
