import { expect, test } from 'vitest'
import type { Isolation } from '../../crds/tenant.ts'
import type { Spare } from '../postgres/spares.ts'
import { planSpares, type SparePlan } from './spares.ts'

const spare = (name: string, version = 2, whole = true): Spare => ({ name, version, whole })
const wants = (warmSchemas: number, isolations: Isolation[] = ['row', 'schema']) => ({ warmSchemas, isolations })

const cases: [string, Spare[], ReturnType<typeof wants>, SparePlan][] = [
  ['makes what is missing', [spare('a')], wants(3), { drop: [], make: 2 }],
  ['nothing when enough stand', [spare('a'), spare('b')], wants(2), { drop: [], make: 0 }],
  [
    'drops those of other migrations, and makes others',
    [spare('a', 1), spare('b', 3), spare('c')],
    wants(2),
    { drop: ['a', 'b'], make: 1 },
  ],
  ['drops what lost its schema or role', [spare('a', 2, false)], wants(1), { drop: ['a'], make: 1 }],
  ['drops what is too much', [spare('a'), spare('b')], wants(1), { drop: ['b'], make: 0 }],
  ['none when switched off', [spare('a')], wants(0), { drop: ['a'], make: 0 }],
  ['none where no tenant may have a schema', [spare('a')], wants(5, ['row']), { drop: ['a'], make: 0 }],
]

test.each(cases)('spares: %s', (_, spares, spec, expected) => {
  expect(planSpares(spares, spec, 2)).toEqual(expected)
})
