import { describe, expect, test } from 'vitest'
import { newTask, onlyId, taskEdit } from './input.ts'

const ID = '01900000-0000-7000-8000-000000000000'

function faultsOf(schema: typeof newTask | typeof taskEdit, value: unknown): string[] {
  const result = schema.safeParse(value)
  return result.success
    ? []
    : result.error.issues.map((issue) => issue.path.join('.') || (issue.code === 'unrecognized_keys' ? `unknown ${issue.keys}` : '?'))
}

describe('a new task', () => {
  test('gets what is not said', () => {
    expect(newTask.parse({ title: 'x' })).toEqual({
      title: 'x',
      description: null,
      priority: 'medium',
      tags: [],
      dueDate: null,
      assignee: null,
    })
  })

  test.for([
    [{}, 'title'],
    [{ title: '' }, 'title'],
    [{ title: 7 }, 'title'],
    [{ title: 'x'.repeat(201) }, 'title'],
    [{ title: '🎈'.repeat(201) }, 'title'],
    [{ title: 'a\u0000b' }, 'title'],
    [{ title: 'half a pair \ud800' }, 'title'],
    [{ title: 'x', description: 'y'.repeat(10_001) }, 'description'],
    [{ title: 'x', description: '\u0000' }, 'description'],
    [{ title: 'x', tags: Array.from({ length: 21 }, () => 't') }, 'tags'],
    [{ title: 'x', tags: ['ok', 't'.repeat(51)] }, 'tags.1'],
    [{ title: 'x', tags: ['\u0000'] }, 'tags.0'],
    [{ title: 'x', tags: 'not a list' }, 'tags'],
    [{ title: 'x', priority: 'whenever' }, 'priority'],
    [{ title: 'x', dueDate: '2030-01-01' }, 'dueDate'],
    [{ title: 'x', dueDate: '2030-02-30T00:00:00Z' }, 'dueDate'],
    [{ title: 'x', dueDate: '9999-12-31T23:59:59-23:00' }, 'dueDate'],
    [{ title: 'x', dueDate: '0000-01-01T00:00:00Z' }, 'dueDate'],
    [{ title: 'x', assignee: '\u0000' }, 'assignee'],
    [{ title: 'x', stauts: 'pending' }, 'unknown stauts'],
    [{ title: 'x', status: 'completed' }, 'unknown status'],
  ] as const)('%j is refused for %s', ([value, field]) => {
    expect(faultsOf(newTask, value)).toEqual([field])
  })

  test('limits are counted in characters', () => {
    expect(
      faultsOf(newTask, {
        title: '🎈'.repeat(200),
        description: 'é'.repeat(10_000),
        tags: Array.from({ length: 20 }, () => '🎈'.repeat(50)),
      }),
    ).toEqual([])
  })

  test('due dates are made UTC', () => {
    expect(newTask.parse({ title: 'x', dueDate: '2030-01-01T12:00:00.123456+02:00' }).dueDate).toBe('2030-01-01T10:00:00.123Z')
  })
})

describe('an edit', () => {
  test('null clears, what is not named stays unnamed', () => {
    const edit = { id: ID, dueDate: null, assignee: null, description: null }
    expect(taskEdit.parse(edit)).toEqual(edit)
  })

  test.for([
    [{ title: null }, 'title'],
    [{ priority: null }, 'priority'],
    [{ status: 'completed' }, 'status'],
    [{ version: 3 }, 'unknown version'],
  ] as const)('%j is refused for %s', ([value, field]) => {
    expect(faultsOf(taskEdit, { id: ID, ...value })).toEqual([field])
  })
})

test('a path that can name no task is not found', () => {
  expect(onlyId.parse({ id: ID.toUpperCase() })).toEqual({ id: ID })
  for (const id of ['7', 'x', `${ID} `, "' OR 1=1"])
    expect(() => onlyId.safeParse({ id })).toThrow(expect.objectContaining({ code: 'not-found' }))
})
