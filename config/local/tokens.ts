import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Kubectl } from './kubectl.ts'
import { type Layout, NAMESPACE } from './layout.ts'

const DAY_MS = 86_400_000
const LIFE_DAYS = 365
const RENEW_BEFORE_DAYS = 90

/** A service account's token and the file it stands in. */
export type Token = { file: string; value: string }

/** The token of a service account of the platform, good for months: the one that is there, or a new one before it ends. */
export async function openToken(layout: Layout, kubectl: Kubectl, account: string): Promise<Token> {
  const file = join(layout.folder, 'tokens', account)
  const before = await readFile(file, 'utf8').catch(() => '')
  if (endOf(before) > Date.now() + RENEW_BEFORE_DAYS * DAY_MS) return { file, value: before }
  const value = (await kubectl(['create', 'token', account, '--namespace', NAMESPACE, `--duration=${LIFE_DAYS * 24}h`])).trim()
  await mkdir(join(layout.folder, 'tokens'), { recursive: true })
  await writeFile(`${file}.new`, value, { mode: 0o600 })
  await rename(`${file}.new`, file)
  return { file, value }
}

/** When a token ends, in ms since 1970; 0 when it is none. */
function endOf(token: string): number {
  try {
    const claims: { exp: number } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
    return claims.exp * 1000
  } catch {
    return 0
  }
}
