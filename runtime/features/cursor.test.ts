import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { CURSOR, cursorBehind, idBehind, listOf } from './cursor.ts'

const ID = '01890a5d-ac96-774b-bcce-b302099a8057'
const TENANT = randomUUID()
const list = listOf(TENANT, 'tasks', { status: 'pending', tag: 'a', limit: 10 })

test('a cursor goes on where its list was, on any replica, with pages of any size', () => {
  const cursor = cursorBehind(list, ID)
  expect(cursor).toMatch(CURSOR)
  const later = listOf(TENANT, 'tasks', { tag: 'a', status: 'pending', limit: 99, assignee: undefined, cursor })
  expect(idBehind(later, cursor)).toBe(ID.replaceAll('-', ''))
})

test.each([
  ['another tenant', listOf(randomUUID(), 'tasks', list.filter)],
  ['another list', listOf(TENANT, 'users', list.filter)],
  ['another value', listOf(TENANT, 'tasks', { status: 'completed', tag: 'a' })],
  ['a filter more', listOf(TENANT, 'tasks', { ...list.filter, priority: 'low' })],
  ['a filter less', listOf(TENANT, 'tasks', { status: 'pending' })],
  ['the values the other way round', listOf(TENANT, 'tasks', { status: 'a', tag: 'pending' })],
])('TI-07: a cursor is refused by %s', (_, other) => {
  expect(() => idBehind(other, cursorBehind(list, ID))).toThrow(
    expect.objectContaining({ code: 'invalid-request', faults: [{ field: 'cursor', message: expect.stringContaining('same filter') }] }),
  )
})

test('TI-07: a cursor that was changed in one place is refused', () => {
  const cursor = cursorBehind(list, ID)
  for (let place = 0; place < cursor.length; place += 1) {
    const changed = cursor.slice(0, place) + (cursor[place] === 'A' ? 'B' : 'A') + cursor.slice(place + 1)
    expect(() => idBehind(list, changed)).toThrow()
  }
})
