import type { ShardReason } from '../crds/shard.ts'
import type { TenantReason } from '../crds/tenant.ts'

/** Why a pass could not go on: a word out of the closed lists in crds/, which stands in a condition. */
export type Reason = ShardReason | TenantReason

/**
 * A failure that a condition can tell: `reason` for programs, the message for people, with the next step. It holds no credential
 * and no SQL; what really happened travels in `cause`, for the log.
 */
export class OperatorError extends Error {
  readonly reason: Reason

  constructor(reason: Reason, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'OperatorError'
    this.reason = reason
  }
}
