import { expect, test } from 'vitest'
import { Indexed } from './indexed.ts'
import type { AnyObject } from './object.ts'

const make = (name: string, color?: string): AnyObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: '', uid: name, resourceVersion: '1', creationTimestamp: '', labels: color === undefined ? {} : { color } },
})
const open = () => new Indexed<AnyObject>(({ metadata }) => metadata.labels?.color)
const under = (objects: Indexed<AnyObject>, color: string) => [...objects.under(color).keys()]

test('objects are found by name and under the value of the index', () => {
  const objects = open()
  for (const one of [make('a', 'red'), make('b', 'blue'), make('c', 'red'), make('d')]) objects.put(one)
  expect([under(objects, 'red'), under(objects, 'blue'), under(objects, 'green')]).toEqual([['a', 'c'], ['b'], []])
  expect(objects.get('d')?.metadata.name).toBe('d')
  expect(objects.list()).toHaveLength(4)
})

test('one that changes its value, or loses it, is found under the new one alone', () => {
  const objects = open()
  objects.put(make('a', 'red'))
  objects.put(make('a', 'blue'))
  expect([under(objects, 'red'), under(objects, 'blue')]).toEqual([[], ['a']])
  objects.put(make('a'))
  expect([under(objects, 'blue'), objects.list().length]).toEqual([[], 1])
})

test('one that is removed is found no more, and what was never there may be removed', () => {
  const objects = open()
  for (const one of [make('a', 'red'), make('b', 'red')]) objects.put(one)
  for (const name of ['a', 'x']) objects.remove(name)
  expect([under(objects, 'red'), objects.get('a'), objects.list().length]).toEqual([['b'], undefined, 1])
})
