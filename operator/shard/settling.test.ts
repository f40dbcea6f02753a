import { expect, test } from 'vitest'
import type { ShardEndpoint } from '../../config/routing.ts'
import { Settling } from './settling.ts'

const endpoint = (connections?: number, settling?: true): ShardEndpoint => ({
  ...{ host: 'db', port: 5432, database: 'tenantry', tls: 'disable' },
  ...(connections === undefined ? {} : { connections }),
  ...(settling === undefined ? {} : { settling }),
})

test('HT-15: who comes waits from a smaller share on until all have heard of it and none has more', () => {
  const settling = new Settling()
  expect(settling.isOn('a', endpoint(9), 4, 9, 0)).toBe(true)
  settling.published('a', true, 1_000)
  expect(settling.isOn('a', endpoint(4, true), 4, 4, 3_999)).toBe(true)
  expect(settling.isOn('a', endpoint(4, true), 4, 5, 4_000)).toBe(true)
  expect(settling.isOn('a', endpoint(4, true), 4, 4, 4_000)).toBe(false)
})

test('HT-15: a share that gets smaller still is waited for anew, and nobody is waited for over a minute', () => {
  const settling = new Settling()
  settling.isOn('a', endpoint(9), 6, 9, 0)
  settling.published('a', true, 0)
  expect(settling.isOn('a', endpoint(6, true), 4, 6, 30_000)).toBe(true)
  settling.published('a', true, 30_000)
  expect(settling.isOn('a', endpoint(4, true), 4, 6, 89_999)).toBe(true)
  expect(settling.isOn('a', endpoint(4, true), 4, 6, 90_000)).toBe(false)
})

test('HT-15: an operator that has just begun waits as if the share were new', () => {
  const settling = new Settling()
  expect(settling.isOn('a', endpoint(4, true), 4, 0, 50_000)).toBe(true)
  settling.published('a', true, 50_000)
  expect(settling.isOn('a', endpoint(4, true), 4, 0, 53_000)).toBe(false)
})

test('HT-15: a new Shard, a larger share, or the same one has nobody wait', () => {
  const settling = new Settling()
  expect(settling.isOn('a', undefined, 4, 9, 0)).toBe(false)
  expect(settling.isOn('a', endpoint(4), 6, 9, 0)).toBe(false)
  expect(settling.isOn('a', endpoint(4), 4, 9, 0)).toBe(false)
  expect(settling.isOn('a', endpoint(), 4, 9, 0)).toBe(true)
})
