import { expect, test } from 'vitest'
import type { ShardWorld } from './observe.ts'
import type { ShardStep } from './plan.ts'
import { repairOf } from './repairs.ts'

type Facts = NonNullable<ShardWorld['database']>

const whole: Partial<Facts> = { version: 3, mark: 'ours', neighboursVersion: 3, templateMark: 'ours, template 3' }

/** Of these steps on a Shard that was Ready, those that are told. */
function told(steps: ShardStep[], changes: Partial<Facts> | undefined): string[] {
  // Only what is looked at.
  const world = { database: changes && { ...whole, ...changes } } as ShardWorld
  return steps.filter((step) => repairOf(world, steps, step) !== undefined).map(({ kind }) => kind)
}

const MARK: ShardStep = { kind: 'mark' }
const NEW: ShardStep = { kind: 'issue-credentials', password: 'new' }
const TEMPLATE: ShardStep = { kind: 'make-template', mark: 'ours, template 4' }

const cases: [string, ShardStep[], Partial<Facts> | undefined, string[]][] = [
  ['tells what was gone', [MARK, TEMPLATE], { mark: undefined, templateMark: undefined }, ['mark', 'make-template']],
  ['tells of a template that was begun anew', [TEMPLATE], { templateMark: 'ours, template 4 unfinished' }, ['make-template']],
  ['tells nothing of an upgrade', [MARK, { kind: 'migrate', from: 2 }, { kind: 'make-neighbours' }, TEMPLATE], {}, []],
  ['tells nothing of another authority', [{ kind: 'issue-credentials', password: 'same' }], {}, []],
  ['tells of a lost login once', [NEW, { kind: 'set-verifier' }], {}, ['issue-credentials']],
  ['tells of a lost role once', [{ kind: 'create-roles' }, { kind: 'grant-login' }, { kind: 'set-verifier' }], {}, ['create-roles']],
  ['tells that the database was gone', [{ kind: 'create-database' }], undefined, ['create-database']],
  ['tells nothing more of what follows from that', [MARK, NEW, { kind: 'close-to-public' }], { version: 0 }, []],
]

test.each(cases)('%s', (_, steps, facts, expected) => expect(told(steps, facts)).toEqual(expected))
