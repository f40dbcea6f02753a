import { z } from 'zod'
import { shownPage } from '../page.ts'

const EXAMPLE = {
  id: '0d8f8d5e-6a0c-4c0b-9d53-0f6a5bb1c7a2',
  time: '2027-01-02T08:30:00.000Z',
  actor: 'key:web',
  action: 'CompleteTask',
  result: 'done',
  target: '01890a5d-ac96-774b-bcce-b302099a8057',
  requestId: '5f0f4a3e-57b1-4bd5-9d4e-9f1b7b0f2f11',
}

/** A line of the audit log as callers see it. */
export const shownEntry = z
  .strictObject({
    id: z.uuid(),
    time: z.iso.datetime(),
    actor: z.string().meta({ description: 'The credential that asked: `key:<name>` for an API key.' }),
    action: z.string().meta({ description: 'The command, or what an administrator has read, by its `operationId`.' }),
    result: z.string().meta({ description: '`done`, or the last part of the problem type it was refused with.' }),
    target: z.uuid().nullable().meta({ description: 'The id of what it was about.' }),
    requestId: z.string().meta({ description: 'The `X-Request-Id` of the answer.' }),
  })
  .meta({ title: 'AuditEntry', description: 'One command, done or refused, or one administrative read.', examples: [EXAMPLE] })

/** A page of the audit log. */
export const shownAudit = shownPage(shownEntry, 'AuditPage', EXAMPLE)
