import { z } from 'zod'
import type { Exported } from '../exported.ts'

/** An event as it is published: CloudEvents 1.0 in JSON. */
export const shownEvent = z
  .strictObject({
    specversion: z.literal('1.0'),
    id: z.uuid(),
    source: z.string(),
    type: z.string().meta({ description: 'Such as `task.created`.' }),
    subject: z.uuid().meta({ description: 'The id of what it happened to.' }),
    time: z.iso.datetime(),
    datacontenttype: z.literal('application/json'),
    tenantid: z.uuid(),
    aggregateversion: z.int().positive(),
    position: z.int().positive(),
    userid: z.uuid().optional(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ title: 'Event', description: 'An event of the tenant (CloudEvents 1.0).' })

/** Which tenant it is, and where its history stood when the export began. */
const tenantLine = z.strictObject({
  kind: z.literal('tenant'),
  data: z.strictObject({
    id: z.string(),
    displayName: z.string().nullable(),
    plan: z.string().nullable(),
    isolation: z.string(),
    settings: z.record(z.string(), z.unknown()),
    position: z.int().nonnegative(),
  }),
})

/** A line of an export of these. */
export function shownLine(exported: readonly Exported[]) {
  const rows = exported.map(({ name, output }) => z.strictObject({ kind: z.literal(name), after: z.string(), data: output }))
  const counts = z.strictObject(Object.fromEntries(exported.map(({ name }) => [name, z.int().nonnegative()])))
  const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
  const markLine = z.strictObject({ kind: z.literal('mark'), after: z.string(), sha256 })
  const endLine = z.strictObject({ kind: z.literal('end'), counts, sha256 })
  return z.union([tenantLine, ...rows, markLine, endLine]).meta({
    title: 'ExportLine',
    description:
      'One line: the tenant at first, then its rows, with a `mark` now and then, and `end` at last. `sha256` is of all lines of the answer before it.',
  })
}
