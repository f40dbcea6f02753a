import { OperatorError } from '../errors.ts'

const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ECONNRESET', 'EPIPE'])
const CERTIFICATE = /^(CERT_|ERR_TLS_CERT|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(VERIFY|GET_ISSUER)|HOSTNAME_MISMATCH|ERR_OSSL)/
// What pg says of connections that ended, without a code.
const ENDED = /timeout|terminated|not queryable|Connection ended/i

type Target = { host: string; port: number; username: string; database: string }

/** The Shard's reason in what a connection or statement threw, where there is one; else the error itself. */
export function describeFailure(error: unknown, target: Target): unknown {
  if (!(error instanceof Error) || error instanceof OperatorError) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const { host, port, username, database } = target
  const server = `${host}:${port}`
  const failure = (reason: OperatorError['reason'], message: string) => new OperatorError(reason, message, { cause: error })
  if (CERTIFICATE.test(code)) return failure('CertificateInvalid', certificateMessage(server, code))
  if (/does not support SSL/.test(error.message)) {
    return failure('TlsNotOffered', `${server} does not offer TLS: turn ssl on in the server, or set spec.tls.mode to disable.`)
  }
  if (code === '28P01')
    return failure('AuthenticationFailed', `${server} refuses the password of ${username}: correct the Secret in spec.adminSecretRef.`)
  if (code === '28000')
    return failure('AuthenticationFailed', `${server} refuses the login ${username} to ${database}: see pg_hba.conf and spec.tls.mode.`)
  if (code === '53300')
    return failure('TooManyConnections', `${server} has no connection left: raise max_connections or end other clients.`)
  if (/^(08|57P)/.test(code))
    return failure('Unreachable', `${server} ends connections (${code}): wait until it has started, or see its log.`)
  if (UNREACHABLE.has(code) || (code === '' && ENDED.test(error.message))) {
    return failure(
      'Unreachable',
      `${server} does not answer${code === '' ? '' : ` (${code})`}: see that Postgres runs there and that spec.endpoint is right.`,
    )
  }
  return error
}

function certificateMessage(server: string, code: string): string {
  if (code === 'CERT_HAS_EXPIRED') return `The certificate of ${server} has expired (${code}): renew it there.`
  return `The certificate of ${server} is not accepted (${code}): correct spec.tls.caSecretRef, or the host name in spec.endpoint.host.`
}

/** True when the error says that the whole Shard is out of reach, not that one statement failed. */
export function isOutage(error: unknown): error is OperatorError {
  return error instanceof OperatorError && OUTAGES.has(error.reason)
}

const OUTAGES = new Set<string>(['Unreachable', 'TlsNotOffered', 'CertificateInvalid', 'AuthenticationFailed', 'TooManyConnections'])

/** The SQLSTATE of a Postgres error, or of its cause. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if ('code' in error && typeof error.code === 'string') return error.code
  return sqlState(error.cause)
}
