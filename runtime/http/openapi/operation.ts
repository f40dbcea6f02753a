import { z } from 'zod'
import type { Scope } from '../../../config/routing.ts'
import type { Feature } from '../../features/feature.ts'
import type { AnyStreamQuery } from '../../queries/stream.ts'
import type { TenantContext } from '../../tenancy/context.ts'
import type { Exchange } from '../exchange.ts'
import type { PathParameters } from '../input.ts'

/** One way to answer. Without a schema the body is text of that type; without a type there is no body. */
export type Answer = {
  status: 200 | 201 | 204 | 503
  /** What the caller gets, in a sentence. */
  description: string
  type?: string
  /** The shape of the body; its `title` is the name in the document. */
  schema?: z.ZodType
  /** True: with `ETag`, so that conditional requests have something to go by. */
  versioned?: boolean
}

/** One thing that the HTTP API offers, as data: what is mounted, the document, the pages and the tests all come of it. */
export type Operation = {
  id: string
  method: 'get' | 'post' | 'patch' | 'delete'
  path: string
  summary: string
  tag: string
  /** What the caller must be allowed to do; `any`: whatever it is; `public`: no credential is needed. */
  access: Scope | 'any' | 'public'
  /** Parses path parameters and query string, or for commands path parameters and body, as one object. */
  input: z.ZodType
  /** Changes something: takes a body and conditions. */
  isCommand: boolean
  /** A command that may leave the tenant with more data. */
  grows?: boolean
  /** All but the problems. */
  answers: readonly Answer[]
}

/** Answers one exchange, or throws what it is to be refused with. */
export type Handler = (exchange: Exchange, parameters: PathParameters) => void | Promise<void>

/** Finds out whose exchange it is; at once for most. Throws what FindTenant throws. */
export type Authenticate = (exchange: Exchange) => TenantContext | Promise<TenantContext>

/** One operation and what answers it. Nothing is mounted without its description, so that the document tells of all there is. */
export type Endpoint = { operation: Operation; handle: Handler }

const METHODS = { POST: 'post', PATCH: 'patch', DELETE: 'delete' } as const

/** A feature's command as an operation. */
export function commandOperation(command: Feature['commands'][number], tag: string): Operation {
  const { method, path, status } = command.route
  const answer: Answer =
    status === 204
      ? { status, description: 'Done; there is nothing left to show.' }
      : { status, description: 'Done; this is how it is now.', type: 'application/json', schema: command.aggregate.output, versioned: true }
  const { name: id, summary, input, grows } = command
  return { id, method: METHODS[method], path, summary, tag, access: command.scope, input, isCommand: true, grows, answers: [answer] }
}

/** A feature's query as an operation. */
export function queryOperation(query: Feature['queries'][number], tag: string): Operation {
  const { name: id, summary, input, output, versioned, route } = query
  const answer: Answer = { status: 200, description: 'What was asked for.', type: 'application/json', schema: output, versioned }
  return { id, method: 'get', path: route.path, summary, tag, access: query.scope, input, isCommand: false, answers: [answer] }
}

/** A feature's stream as an operation. */
export function streamOperation({ name: id, summary, input, route, scope, type, output }: AnyStreamQuery, tag: string): Operation {
  const answers = [
    { status: 200, description: 'What was asked for, piece by piece: the schema is that of one line.', type, schema: output } as const,
  ]
  return { id, method: 'get', path: route.path, summary, tag, access: scope, input, isCommand: false, answers }
}

/** Something that needs no tenant and takes no input. */
export function publicOperation(
  id: string,
  path: string,
  summary: string,
  answers: readonly Answer[],
  input = z.strictObject({}),
): Operation {
  return { id, method: 'get', path, summary, tag: 'platform', access: 'public', input, isCommand: false, answers }
}

/** The names in braces in a path. */
export function pathParameters(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
}
