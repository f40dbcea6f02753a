import { z } from 'zod'
import { shownPage } from '../page.ts'
import type { User } from './user.ts'

const EXAMPLE = {
  id: '01890a5d-ac96-774b-bcce-b302099a8058',
  email: 'ann@example.com',
  displayName: 'Ann Lee',
  version: 1,
  createdAt: '2027-01-02T08:30:00.000Z',
  updatedAt: '2027-01-02T08:30:00.000Z',
}

/** A user as callers see it. */
export const shownUser: z.ZodType<User & { version: number }> = z
  .strictObject({
    id: z.uuid().meta({ description: 'A UUID of version 7: ids sort by the time they were made.' }),
    email: z.string().meta({ description: 'Trimmed and in lower case.' }),
    displayName: z.string(),
    version: z.int().positive().meta({ description: 'Goes up with each change; the ETag.' }),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ title: 'User', description: 'A user of the tenant. Times are RFC 3339, in UTC with milliseconds.', examples: [EXAMPLE] })

/** A page of users. */
export const shownUsers = shownPage(shownUser, 'UserPage', EXAMPLE)
