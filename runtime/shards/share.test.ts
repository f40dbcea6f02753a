import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LEAST_CONNECTIONS } from '../../config/routing.ts'
import { shareOf } from './share.ts'

const settings = { pipelined: 4, interactive: 4, databases: 16 }

test.each([
  [undefined, settings],
  [24, settings],
  [100, settings],
  [12, { pipelined: 2, interactive: 2, databases: 8 }],
  [4, { pipelined: 1, interactive: 1, databases: 2 }],
  [3, { pipelined: 1, interactive: 1, databases: 1 }],
])('of %s connections', (most, share) => {
  expect(shareOf(settings, most)).toEqual(share)
})

test('never more than there are, nor than the settings say, and one of each kind at least', () => {
  const count = fc.integer({ min: 1, max: 1_000 })
  fc.assert(
    fc.property(count, count, count, fc.integer({ min: LEAST_CONNECTIONS, max: 3_000 }), (pipelined, interactive, databases, most) => {
      const share = shareOf({ pipelined, interactive, databases }, most)
      const of = [share.pipelined, share.interactive, share.databases]
      return (
        of.reduce((sum, one) => sum + one) <= most &&
        of.every((one) => one >= 1) &&
        share.pipelined <= pipelined &&
        share.interactive <= interactive &&
        share.databases <= databases
      )
    }),
  )
})
