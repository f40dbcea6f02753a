import { z } from 'zod'
import type { StreamQuery } from '../../queries/stream.ts'
import type { Feature } from '../feature.ts'
import { exportedEvents } from './events.ts'
import { exportLines } from './lines.ts'
import { shownLine } from './output.ts'

const input = z.strictObject({
  after: z
    .string()
    .max(512, 'must have at most 512 characters')
    .meta({ description: 'The `after` of the last line that arrived whole: go on behind it.' })
    .optional(),
})

/** Everything of a tenant that these features say is to be exported, and its history. */
export function exportOf(features: readonly Feature[]): Feature {
  const exported = [...features.flatMap((feature) => feature.exports ?? []), exportedEvents]
  const ExportTenant: StreamQuery<z.infer<typeof input>> = {
    name: 'ExportTenant',
    summary: 'Everything of the tenant, as lines of JSON that end with a checksum',
    scope: 'tenant:admin',
    route: { path: '/v1/admin/export' },
    input,
    type: 'application/x-ndjson',
    output: shownLine(exported),
    pieces: (tenant, { after }, read) => exportLines(exported, tenant, after, read),
  }
  return { name: 'export', commands: [], queries: [], streams: [ExportTenant], projections: [], invalidates: () => [] }
}
