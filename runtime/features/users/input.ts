import { z } from 'zod'
import { idInPath, text } from '../input.ts'

/**
 * An e-mail address, trimmed and in lower case. The part before the @ too: hardly a mail server tells its case apart, and people who register
 * twice do not either.
 */
const email = z
  .string()
  .trim()
  .toLowerCase()
  .pipe(z.email('must be an e-mail address such as ann@example.com').max(254, 'must have at most 254 characters'))
  .meta({ format: 'email', maxLength: 254 })

/** The body of a new user. */
export const newUser = z
  .strictObject({ email, displayName: text(1, 200) })
  .meta({ examples: [{ email: 'ann@example.com', displayName: 'Ann Lee' }] })

/** Just the user's id. */
export const onlyId = z.strictObject({ id: idInPath('user') })
