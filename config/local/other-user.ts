import { createHash } from 'node:crypto'
import { chmod, cp, lstat, mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join, resolve, sep } from 'node:path'
import type { User } from './processes.ts'

// Kept over restarts of the machine, and open to every user, as /tmp is.
const OPEN_FOLDER = '/var/tmp'

/** The user as which a program runs that refuses to run as root: `postgres`, else `nobody`; undefined when we are not root. */
export async function findUnprivilegedUser(): Promise<User | undefined> {
  if (userInfo().uid !== 0) return undefined
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  const found = lines.find(([name]) => name === 'postgres') ?? lines.find(([name]) => name === 'nobody')
  if (found === undefined)
    throw new Error(
      'Postgres does not run as root, and there is neither a user "postgres" nor "nobody": add one with "useradd --system postgres"',
    )
  return { uid: Number(found[2]), gid: Number(found[3]) }
}

/**
 * A folder that `user` can reach and that stands for `folder`: itself, unless a folder above it is closed to others (a home, say);
 * then one under /var/tmp, always the same. Our own folders under the temp folder are opened for passage instead.
 */
export async function reachableFolder(folder: string, user: User): Promise<string> {
  if (await canReach(folder, user)) return folder
  const moved = join(OPEN_FOLDER, `tenantry-${createHash('sha256').update(resolve(folder)).digest('hex').slice(0, 12)}`)
  await mkdir(moved, { recursive: true })
  const found = await lstat(moved)
  if (found.uid !== 0 || !found.isDirectory()) throw new Error(`${moved} was made by another user: remove it`)
  return moved
}

/** The folder itself when `user` can reach it, else a copy of it that the user can reach. */
export async function reachableCopy(folder: string, user: User): Promise<string> {
  if (await canReach(folder, user)) return folder
  const copy = await reachableFolder(folder, user)
  const target = join(copy, 'copy')
  if (await stat(target).catch(() => undefined)) return target
  const fresh = join(copy, `new-${process.pid}`)
  await cp(folder, fresh, { recursive: true, verbatimSymlinks: true })
  await rename(fresh, target).catch(() => rm(fresh, { recursive: true, force: true }))
  return target
}

async function canReach(folder: string, user: User): Promise<boolean> {
  const temp = resolve(tmpdir()) + sep
  for (let at = resolve(folder); ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined)
    if (found !== undefined && !mayPass(found, user)) {
      if (!at.startsWith(temp) || found.uid !== 0) return false
      await chmod(at, found.mode | 0o011)
    }
    if (at === dirname(at)) return true
  }
}

function mayPass({ mode, uid, gid }: { mode: number; uid: number; gid: number }, user: User): boolean {
  if (uid === user.uid) return (mode & 0o100) !== 0
  return (mode & (gid === user.gid ? 0o010 : 0o001)) !== 0
}
