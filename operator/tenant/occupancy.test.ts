import { expect, test } from 'vitest'
import { Indexed } from '../kubernetes/indexed.ts'
import { placementNote, shardOf, type Tenant } from './home.ts'
import { Occupancy } from './occupancy.ts'

function tenant(name: string, uid: string, shard?: string): Tenant {
  const placed = { kind: 'placed', shard: shard ?? '', reason: 'NamedShard', message: '' } as const
  const annotations = shard === undefined ? {} : placementNote(uid, placed)
  const metadata = { name, namespace: '', uid, resourceVersion: '1', creationTimestamp: '', annotations }
  const spec = { isolation: 'row', plan: 'free', deletionPolicy: 'Retain', suspended: false, deletionProtection: false } as const
  return { apiVersion: '', kind: 'Tenant', metadata, spec }
}

function open(...tenants: Tenant[]) {
  const store = new Indexed<Tenant>(shardOf)
  for (const one of tenants) store.put(one)
  return { store, occupancy: new Occupancy(store) }
}

test('a placement counts from when it is made, and once when the watch tells of it', () => {
  const { store, occupancy } = open(tenant('a', '1', 's'), tenant('b', '2'))
  occupancy.place({ uid: '2', name: 'b' }, 's')
  expect([occupancy.count('s'), occupancy.count('other')]).toEqual([2, 0])
  store.put(tenant('b', '2', 's'))
  expect(occupancy.count('s')).toBe(2)
})

test('one that was taken back counts no more', () => {
  const { occupancy } = open(tenant('a', '1'))
  occupancy.place({ uid: '1', name: 'a' }, 's')
  occupancy.release('1')
  expect(occupancy.count('s')).toBe(0)
})

test.each([
  ['was deleted', undefined],
  ['was made anew under its name', tenant('a', '2')],
])('one whose Tenant %s counts no more', (_, after) => {
  const { store, occupancy } = open(tenant('a', '1'))
  occupancy.place({ uid: '1', name: 'a' }, 's')
  if (after === undefined) store.remove('a')
  else store.put(after)
  expect(occupancy.count('s')).toBe(0)
})

test('a Shard is busy while one of its tenants is being made', () => {
  const { occupancy } = open(tenant('a', '1', 's'))
  expect([occupancy.isBusy('s'), occupancy.isBusy('other')]).toEqual([true, false])
})
