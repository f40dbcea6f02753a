import type { z } from 'zod'
import type { Scope } from '../../config/routing.ts'
import type { Audit } from '../events/audit.ts'
import type { Row, Statement } from '../shards/statement.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { finder } from '../tenancy/scopes.ts'
import { createAdmit } from './admit.ts'
import type { RowReader } from './read.ts'

/** Reads rows of the tenant that the stream is for. */
export type ReadRows = (statement: Statement) => Promise<readonly Row[]>

/** A query whose answer is too long to be held: it is made piece by piece, each when the one before has gone out. */
export type StreamQuery<Input> = {
  name: string
  /** What it answers, in a few words for the document. */
  summary: string
  /** What the caller must be allowed to do. */
  scope: Scope
  route: { path: string }
  /** Parses path parameters and query string as one object, strictly. */
  input: z.ZodType<Input>
  /** The media type of the answer. */
  type: string
  /** The shape of one line of it; its `title` is the name in the document. */
  output: z.ZodType
  /** What is thrown before the first piece is told to the caller; later it breaks the answer off. */
  pieces: (tenant: TenantContext, input: Input, read: ReadRows) => AsyncGenerator<string, void>
}

/** The one way to ask for a stream: by the name of its query. */
export type StreamBus = {
  /** Opens the stream `name` for `tenant`. Its first piece throws when the name is not known, and `forbidden` when the caller lacks its scope. */
  open: (tenant: TenantContext, name: string, input: unknown, signal: AbortSignal) => AsyncGenerator<string, void>
}

// biome-ignore lint/suspicious/noExplicitAny: each query has its own input; its schema has made it before
export type AnyStreamQuery = StreamQuery<any>

/** A bus over these; what administrators read is noted as for queries. Throws at once when two of them have the same name, or one names no scope. */
export function createStreamBus(streams: readonly AnyStreamQuery[], rows: RowReader, audit: Audit): StreamBus {
  const find = finder<AnyStreamQuery>('stream', streams)
  const admit = createAdmit(audit)
  return {
    open: async function* (tenant, name, input, signal) {
      const stream = find(name)
      await admit(tenant, stream)
      yield* stream.pieces(tenant, input, (statement) => rows.read(tenant, statement, signal))
    },
  }
}
