import { chmod, chown, cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findUnprivilegedUser } from '../../config/local/other-user.ts'
import { run } from '../../config/local/run.ts'
import { connectAsSuperuser } from './provision.ts'

/** A Postgres server as far as its backup goes. */
export type Saved = { superuserUrl: string; stop: () => Promise<void> }

/** Where a server's base backups and WAL are kept, readable by whoever runs Postgres. */
export type Archive = { wal: string; base: string }

/** Statements of docs/backup.md that have the server archive its WAL into a folder; in force when it is started again. */
export const archiving = (wal: string): string[] => [
  "ALTER SYSTEM SET archive_mode = 'on'",
  `ALTER SYSTEM SET archive_command = 'test ! -f ${wal}/%f && cp %p ${wal}/%f'`,
  "ALTER SYSTEM SET archive_timeout = '60s'",
]

/** Settings of docs/backup.md that have a restored server go on at a time. */
export const recovery = (wal: string, time: string): string => `restore_command = 'cp ${wal}/%f %p'
recovery_target_time = '${time}'
recovery_target_action = 'promote'
`

/** Makes the folders of an archive. */
export async function openArchive(folder: string): Promise<Archive> {
  const archive = { wal: join(folder, 'wal'), base: join(folder, 'base') }
  for (const path of [folder, ...Object.values(archive)]) {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await own(path)
  }
  return archive
}

/** Runs statements as the superuser, one at a time; gives the first row of the last. */
export async function asSuperuser(server: Pick<Saved, 'superuserUrl'>, ...statements: string[]): Promise<Record<string, unknown>> {
  const client = await connectAsSuperuser(server, 'postgres')
  try {
    let row: Record<string, unknown> = {}
    for (const statement of statements) row = (await client.query(statement)).rows[0] ?? {}
    return row
  } finally {
    await client.end()
  }
}

/** A base backup of a running server, by Postgres' own functions: what pg_basebackup does where it is there. */
export async function saveBase(server: Pick<Saved, 'superuserUrl'>, data: string, { base }: Archive): Promise<void> {
  const client = await connectAsSuperuser(server, 'postgres')
  try {
    await client.query("SELECT pg_backup_start('base', fast => true)")
    // Files come and go while it runs: what matters is in the WAL.
    await run('sh', ['-c', `tar -C ${data} --exclude=./postmaster.pid --exclude='./pg_wal/*' -cf - . | tar -C ${base} -xpf -`])
    const { rows } = await client.query('SELECT labelfile FROM pg_backup_stop()')
    await writeFile(join(base, 'backup_label'), rows[0].labelfile)
    await own(join(base, 'backup_label'))
  } finally {
    await client.end()
  }
}

/** Puts the base backup in the place of a data folder that is lost; started again, the server goes on as it was at that time. */
export async function restoreBase(data: string, { base, wal }: Archive, time: string): Promise<void> {
  await cp(base, data, { recursive: true, preserveTimestamps: true })
  await writeFile(join(data, 'postgresql.auto.conf'), recovery(wal, time))
  await writeFile(join(data, 'recovery.signal'), '')
  await run('chown', ['-R', await ownerOf(), data])
  await chmod(data, 0o700)
}

async function ownerOf(): Promise<string> {
  const user = await findUnprivilegedUser()
  return user === undefined ? String(process.getuid?.() ?? '') : `${user.uid}:${user.gid}`
}

async function own(path: string): Promise<void> {
  const user = await findUnprivilegedUser()
  if (user !== undefined) await chown(path, user.uid, user.gid)
}
