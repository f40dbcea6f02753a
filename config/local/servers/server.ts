import { join } from 'node:path'
import { choosePort } from '../ports.ts'
import { findRecorded } from '../processes.ts'

/** How a server is started. Started again with the same folder it has the same data, port, passwords and certificates, also after a crash. */
export type ServerOptions = {
  /** The name in records and reports; default: what the server is called. */
  name?: string
  /** Holds all that the server keeps; made when missing. */
  folder: string
  /** Default: the one used in this folder before, else a free one. */
  port?: number | undefined
  /** Default: `<name>.log` in the folder. */
  logFile?: string
  /** False: nothing is forced to the disk, for tests. A killed process loses nothing by it, only a machine that dies does. */
  durable?: boolean
  signal?: AbortSignal | undefined
}

/** Where a server listens. */
export const HOST = '127.0.0.1'

/** The port of the server called `name` that keeps its data in `folder`; `holder` is the process that listens there, when it is called otherwise. */
export async function portOf(options: ServerOptions, name: string, wanted = options.port, holder = name): Promise<number> {
  const ours = (await findRecorded(options.folder, holder)) !== undefined
  return choosePort({ name, file: join(options.folder, `${name}.port`), wanted, ours })
}

/** The log file of the server called `name`. */
export function logOf(options: ServerOptions, name: string): string {
  return options.logFile ?? join(options.folder, `${name}.log`)
}
