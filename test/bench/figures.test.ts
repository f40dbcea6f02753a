import { expect, test } from 'vitest'
import { judge, median, table } from './figures.ts'

test('the median of odd and even numbers of rounds', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 2, 3])).toBe(2.5)
  expect(median([7])).toBe(7)
})

test('a line is judged by its medians against the first peer', () => {
  const rounds = { ours: [30, 20, 100], limit: [50, 50, 50], peers: { peer: [10, 12, 1] } }
  const figure = judge({ name: 'x', unit: 'req/s', target: { atLeast: 2.5 } }, rounds, {})
  expect(figure).toMatchObject({ ours: 30, peers: { peer: 10 }, limit: 50, ratio: 3, target: '>= 2.5x', ok: true })
  expect(judge({ name: 'x', unit: 's', target: { atMost: 2, of: 'peer' } }, rounds, {})).toMatchObject({ ok: false, target: '<= 2x' })
  expect(judge({ name: 'x', unit: 'MiB', target: { atMost: 40, of: 'ours' } }, rounds, {})).toMatchObject({ ok: true, target: '<= 40 MiB' })
})

test('the table says what missed its target', () => {
  const rounds = { ours: [1], limit: [1], peers: { peer: [1] } }
  expect(table([judge({ name: 'x', unit: 'req/s', target: { atLeast: 2 } }, rounds, {})])).toContain('MISSED')
})
