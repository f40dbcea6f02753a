import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TenantryError } from '../../errors.ts'
import { completeTask, createTask, deleteTask, type Edit, updateTask } from './decide.ts'
import { evolve } from './evolve.ts'
import { facetsOf, PRIORITIES, type Task, type TaskEvent } from './task.ts'

const text = fc.string({ minLength: 1, maxLength: 20 })
const time = fc.date({ min: new Date('2000-01-01'), max: new Date('2100-01-01'), noInvalidDate: true }).map((date) => date.toISOString())
const fields = {
  title: text,
  description: fc.option(text),
  priority: fc.constantFrom(...PRIORITIES),
  tags: fc.array(text, { maxLength: 3 }),
  dueDate: fc.option(time),
  assignee: fc.option(text),
}
const newTask = fc.record(fields)
const edit: fc.Arbitrary<Edit> = fc.record(
  { ...fields, status: fc.constantFrom('pending' as const, 'in_progress' as const) },
  { requiredKeys: [] },
)

type Step = { kind: 'update'; edit: Edit } | { kind: 'complete' } | { kind: 'delete' }
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: edit.map((changes) => ({ kind: 'update' as const, edit: changes })) },
  { weight: 2, arbitrary: fc.constant({ kind: 'complete' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'delete' as const }) },
)
const life = fc.record({ made: newTask, steps: fc.array(step, { maxLength: 15 }) })

const ID = '01900000-0000-7000-8000-000000000000'
const at = (second: number) => ({ now: new Date(Date.UTC(2026, 0, 1, 0, 0, second)), id: ID })

function decide(step: Step, task: Task | null, second: number): TaskEvent[] {
  if (step.kind === 'update') return updateTask(step.edit, task, at(second))
  return step.kind === 'complete' ? completeTask(task, at(second)) : deleteTask(task)
}

/** Each event with the task before and after it; what is refused leaves no event. */
function live({ made, steps }: { made: Parameters<typeof createTask>[0]; steps: readonly Step[] }) {
  const history: { before: Task | null; event: TaskEvent; after: Task | null }[] = []
  let task: Task | null = null
  const record = (events: readonly TaskEvent[]) => {
    for (const event of events) {
      const after = evolve(task, event)
      history.push({ before: task, event, after })
      task = after
    }
  }
  record(createTask(made, at(0)))
  steps.forEach((one, index) => {
    try {
      record(decide(one, task, index + 1))
    } catch (error) {
      expect(error).toBeInstanceOf(TenantryError)
    }
  })
  return history
}

describe('any life of a task', () => {
  test('an event carries the facets as they were and as they are, so that counting by events counts tasks', () => {
    fc.assert(
      fc.property(life, (one) => {
        for (const { before, event, after } of live(one)) {
          expect('before' in event.data ? event.data.before : null).toEqual(before && facetsOf(before))
          expect('after' in event.data ? event.data.after : null).toEqual(after && facetsOf(after))
        }
      }),
    )
  })

  test('it is completed at a time exactly while it is completed, and keeps id and creation', () => {
    fc.assert(
      fc.property(life, (one) => {
        for (const { after } of live(one)) {
          if (after === null) continue
          expect(after.completedAt !== null).toBe(after.status === 'completed')
          expect(after).toMatchObject({ id: ID, createdAt: at(0).now.toISOString() })
          expect(after.updatedAt >= after.createdAt).toBe(true)
        }
      }),
    )
  })

  test('events survive JSON, as the event table keeps them', () => {
    fc.assert(
      fc.property(life, (one) => {
        const history = live(one)
        const replayed = history.reduce((task: Task | null, { event }) => evolve(task, JSON.parse(JSON.stringify(event))), null)
        expect(replayed).toEqual(history.at(-1)?.after ?? null)
      }),
    )
  })
})

describe('one command', () => {
  test('an update leaves what it does not name, and is no event the second time', () => {
    fc.assert(
      fc.property(newTask, edit, (made, changes) => {
        const [created] = createTask(made, at(0))
        const task = created ? evolve(null, created) : null
        const [updated] = updateTask(changes, task, at(1))
        if (updated === undefined) return expect({ ...task, ...changes }).toEqual(task)
        const after = evolve(task, updated)
        expect(after).toEqual({ ...task, ...changes, updatedAt: at(1).now.toISOString(), completedAt: null })
        expect(updateTask(changes, after, at(2))).toEqual([])
      }),
    )
  })

  test('what is not there is not found', () => {
    for (const step of [{ kind: 'update', edit: { title: 'x' } }, { kind: 'complete' }, { kind: 'delete' }] as const) {
      expect(() => decide(step, null, 0)).toThrow(expect.objectContaining({ code: 'not-found' }))
    }
  })

  test('completing twice is a conflict; taking it up again makes it completable', () => {
    const [created] = createTask({ title: 'x', description: null, priority: 'low', tags: [], dueDate: null, assignee: null }, at(0))
    const task = created ? evolve(null, created) : null
    const [completed] = completeTask(task, at(1))
    const done = completed ? evolve(task, completed) : null
    expect(() => completeTask(done, at(2))).toThrow(expect.objectContaining({ code: 'conflict' }))
    const [reopened] = updateTask({ status: 'in_progress' }, done, at(3))
    expect(reopened ? evolve(done, reopened) : null).toMatchObject({ status: 'in_progress', completedAt: null })
  })
})
