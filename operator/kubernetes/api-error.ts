/** A refusal by the API server: the HTTP status and what its `Status` object says. */
export class ApiError extends Error {
  readonly status: number
  /** `AlreadyExists`, `Conflict`, `Expired`, ...: see metav1.StatusReason. */
  readonly reason: string
  /** Milliseconds the server asks to wait, when it says so. */
  readonly retryAfterMs: number | undefined
  /** What the reason comes from, where it is told: see metav1.CauseType. */
  readonly causes: readonly string[]

  constructor(status: number, { reason = 'Unknown', message = '', causes = [] }: StatusParts, retryAfterMs?: number) {
    super(`${status} ${reason}: ${message}`)
    this.name = 'ApiError'
    this.status = status
    this.reason = reason
    this.retryAfterMs = retryAfterMs
    this.causes = causes
  }
}

/** The error in an answer of the API server, or of a proxy before it, whose body may be anything. */
export function apiError(status: number, body: string, retryAfter?: string): ApiError {
  const parts = readStatus(body)
  const seconds = Number(retryAfter)
  const wait = retryAfter === undefined || !Number.isFinite(seconds) ? undefined : Math.max(0, seconds * 1000)
  return new ApiError(status, { message: body.slice(0, 200), ...parts }, wait)
}

/** True for an ApiError with that HTTP status. */
export function isStatus(error: unknown, status: number): error is ApiError {
  return error instanceof ApiError && error.status === status
}

/** True when nothing can be made because the namespace is going: what is not there now will never be. */
export function isTerminating(error: unknown): boolean {
  return isStatus(error, 403) && error.causes.includes('NamespaceTerminating')
}

type StatusParts = { reason?: string; message?: string; causes?: string[] }

function readStatus(body: string): StatusParts {
  try {
    const { reason, message, details } = JSON.parse(body)
    const causes = Array.isArray(details?.causes) ? details.causes.map((cause: { reason?: unknown }) => String(cause.reason)) : []
    return { ...(typeof reason === 'string' ? { reason } : {}), ...(typeof message === 'string' ? { message } : {}), causes }
  } catch {
    return {}
  }
}
