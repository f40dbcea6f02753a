import { z } from 'zod'
import { TenantryError } from '../errors.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Text of so many characters that Postgres can hold: no null byte, no half of a surrogate pair. */
export function text(min: number, max: number) {
  return z
    .string()
    .refine((value) => !value.includes('\u0000') && value.isWellFormed(), 'must not contain a null byte or broken Unicode')
    .refine((value) => count(value, max) >= min, `must have at least ${min} character${min === 1 ? '' : 's'}`)
    .refine((value) => count(value, max) <= max, `must have at most ${max} characters`)
    .meta({ minLength: min, maxLength: max })
}

/** The id in a path, of a thing of that name. What is no UUID names nothing: `not-found`. */
export function idInPath(thing: string) {
  return z
    .string()
    .meta({ format: 'uuid', description: `The id of the ${thing}.` })
    .transform((id) => {
      if (!UUID.test(id)) throw new TenantryError('not-found', `There is no such ${thing}.`)
      return id.toLowerCase()
    })
}

/** The id of a thing that is named in a body or a filter. `message` says what it must be. */
export function idOf(message: string) {
  return z
    .string()
    .refine((id) => UUID.test(id), message)
    .meta({ format: 'uuid' })
    .transform((id) => id.toLowerCase())
}

// Characters as people count them, not UTF-16 units; never more work than needed to know.
function count(value: string, max: number): number {
  return value.length > max * 2 ? value.length : Array.from(value).length
}
