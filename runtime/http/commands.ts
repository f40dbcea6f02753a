import type { IncomingMessage } from 'node:http'
import type { CommandOptions, Outcome } from '../commands/command.ts'
import { TenantryError } from '../errors.ts'
import type { Feature } from '../features/feature.ts'
import type { TenantContext } from '../tenancy/context.ts'
import type { ReadJson } from './body.ts'
import { acceptedVersions, entityTag } from './conditions.ts'
import type { Exchange } from './exchange.ts'
import { parse, readBody } from './input.ts'
import type { Authenticate, Handler } from './openapi/operation.ts'

/** The one way to change something, as commands/bus gives it. */
export type CommandExecutor = {
  execute: (tenant: TenantContext, name: string, input: unknown, options: CommandOptions) => Promise<Outcome>
}

type AnyCommand = Feature['commands'][number]

/** Carries out one command over HTTP. The tenant is known before the body is read: a stranger's body costs nothing. */
export function commandHandler(command: AnyCommand, bus: CommandExecutor, authenticate: Authenticate, readJson: ReadJson): Handler {
  return async (exchange, parameters) => {
    const tenant = await authenticate(exchange)
    requireJson(exchange.request)
    const input: unknown = parse(command.input, readBody(await readJson(exchange), parameters))
    const outcome = await bus.execute(tenant, command.name, input, optionsOf(command, input, exchange))
    answer(exchange, command, outcome)
  }
}

const JSON_TYPE = /^application\/json *(;|$)/i

function requireJson({ url, headers }: IncomingMessage): void {
  if (url?.includes('?')) {
    throw new TenantryError('invalid-request', 'This request takes no query string.', {
      faults: [{ field: 'query', message: 'is not known here' }],
    })
  }
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  if (hasBody && !JSON_TYPE.test(headers['content-type'] ?? '')) {
    throw new TenantryError('unsupported-media-type', 'Send the body as application/json.')
  }
}

function optionsOf(command: AnyCommand, input: unknown, { request: { headers }, signal }: Exchange): CommandOptions {
  const accepts = acceptedVersions(headers)
  const idempotencyKey = readIdempotencyKey(headers['idempotency-key'])
  if (headers['if-match'] !== undefined && command.target(input) === undefined) {
    throw new TenantryError('precondition-failed', 'If-Match asks for a version of what is not there yet.')
  }
  return {
    signal,
    ...(accepts === undefined ? {} : { accepts }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
  }
}

// A string of structured fields (RFC 9651, 3.3.3) without escapes, or the same characters bare, as most clients send them.
const IDEMPOTENCY_KEY = /^(?:"([!#-[\]-~ ]{1,255})"|([!#-[\]-~]{1,255}))$/

function readIdempotencyKey(sent: string | string[] | undefined): string | undefined {
  if (sent === undefined) return undefined
  const [, quoted, bare] = IDEMPOTENCY_KEY.exec(String(sent)) ?? []
  const key = quoted ?? bare
  if (key !== undefined) return key
  throw new TenantryError('invalid-request', 'The header Idempotency-Key is not valid.', {
    faults: [{ field: 'Idempotency-Key', message: 'must have 1 to 255 printable ASCII characters, without quotes inside' }],
  })
}

function answer(exchange: Exchange, command: AnyCommand, outcome: Outcome): void {
  const replayed: Record<string, string> = outcome.replayed === true ? { 'idempotency-replayed': 'true' } : {}
  if (outcome.body === undefined || command.route.status === 204) {
    exchange.replyEmpty(204, replayed)
    return
  }
  const headers: Record<string, string> = { 'content-type': 'application/json', etag: entityTag(outcome.version), ...replayed }
  if (command.route.status === 201) headers.location = `${command.route.path}/${outcome.id}`
  exchange.reply(command.route.status, headers, outcome.body)
}
