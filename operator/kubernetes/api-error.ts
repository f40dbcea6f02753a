/** A refusal by the API server: the HTTP status and what its `Status` object says. */
export class ApiError extends Error {
  readonly status: number
  /** `AlreadyExists`, `Conflict`, `Expired`, ...: see metav1.StatusReason. */
  readonly reason: string
  /** Milliseconds the server asks to wait, when it says so. */
  readonly retryAfterMs: number | undefined

  constructor(status: number, reason: string, message: string, retryAfterMs?: number) {
    super(`${status} ${reason}: ${message}`)
    this.name = 'ApiError'
    this.status = status
    this.reason = reason
    this.retryAfterMs = retryAfterMs
  }
}

/** The error in an answer of the API server, or of a proxy before it, whose body may be anything. */
export function apiError(status: number, body: string, retryAfter?: string): ApiError {
  const { reason, message } = readStatus(body)
  const seconds = Number(retryAfter)
  const wait = retryAfter === undefined || !Number.isFinite(seconds) ? undefined : Math.max(0, seconds * 1000)
  return new ApiError(status, reason ?? 'Unknown', message ?? body.slice(0, 200), wait)
}

/** True for an ApiError with that HTTP status. */
export function isStatus(error: unknown, status: number): error is ApiError {
  return error instanceof ApiError && error.status === status
}

function readStatus(body: string): { reason?: string | undefined; message?: string | undefined } {
  try {
    const { reason, message }: { reason?: unknown; message?: unknown } = JSON.parse(body)
    return { reason: typeof reason === 'string' ? reason : undefined, message: typeof message === 'string' ? message : undefined }
  } catch {
    return {}
  }
}
