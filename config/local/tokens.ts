import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Kubectl } from './kubectl.ts'
import { type Layout, NAMESPACE } from './layout.ts'

const DAY_MS = 86_400_000
const LIFE_DAYS = 365
const RENEW_BEFORE_DAYS = 90

/** A service account's token and the file it stands in. */
export type Token = { file: string; value: string }

/**
 * The token of a service account of the platform, good for months: the one that is there, or a new one before it ends, and for an account
 * that was made anew.
 */
export async function openToken(layout: Layout, kubectl: Kubectl, account: string): Promise<Token> {
  const file = join(layout.folder, 'tokens', account)
  const before = await readFile(file, 'utf8').catch(() => '')
  const { endsAt, accountUid } = readClaims(before)
  const uid = await kubectl(['get', 'serviceaccount', account, '--namespace', NAMESPACE, '--output=jsonpath={.metadata.uid}'])
  if (endsAt > Date.now() + RENEW_BEFORE_DAYS * DAY_MS && accountUid === uid.trim()) return { file, value: before }
  const value = (await kubectl(['create', 'token', account, '--namespace', NAMESPACE, `--duration=${LIFE_DAYS * 24}h`])).trim()
  await mkdir(join(layout.folder, 'tokens'), { recursive: true })
  await writeFile(`${file}.new`, value, { mode: 0o600 })
  await rename(`${file}.new`, file)
  return { file, value }
}

/** When a token ends, in ms since 1970, and the UID of whose it is; 0 when it is none. */
function readClaims(token: string): { endsAt: number; accountUid: string | undefined } {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
    return { endsAt: claims.exp * 1000, accountUid: claims['kubernetes.io'].serviceaccount.uid }
  } catch {
    return { endsAt: 0, accountUid: undefined }
  }
}
