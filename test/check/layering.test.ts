import { describe, expect, test } from 'vitest'
import { importsOf, type Source } from './imports.ts'
import { violations } from './layering.ts'

const judge = (...sources: Source[]): string[] => violations(sources.map(importsOf))
const file = (path: string, text: string): Source => ({ path, text })

describe('imports of a file', () => {
  test('static, type-only, re-exported and dynamic ones are found', () => {
    const text = `
      import type { A } from './a.ts'
      import { b } from '../b.ts'
      export { c } from './c.ts'
      export * from '@scope/name/deep'
      const d = await import('pg')
      import { readFile } from 'node:fs/promises'`
    expect(importsOf(file('runtime/shards/x.ts', text))).toEqual({
      path: 'runtime/shards/x.ts',
      own: ['runtime/shards/a.ts', 'runtime/b.ts', 'runtime/shards/c.ts'],
      packages: ['@scope/name', 'pg'],
      node: ['node:fs/promises'],
    })
  })

  test('an import whose target only shows at run time is refused', () => {
    expect(() => importsOf(file('runtime/x.ts', 'await import(name)'))).toThrow('should name its module')
  })
})

describe('each planted violation is found', () => {
  test.each([
    ['operator/tenant/observe.ts', '../../runtime/errors.ts'],
    ['runtime/http/server.ts', '../../operator/errors.ts'],
    ['runtime/http/server.ts', '../../crds/tenant.ts'],
    ['config/routing.ts', '../crds/tenant.ts'],
    ['config/local/main.ts', '../../operator/settings.ts'],
    ['crds/tenant.ts', 'zod'],
    ['crds/tenant.ts', 'node:crypto'],
    ['runtime/http/server.ts', 'pg'],
    ['operator/tenant/apply.ts', '@kubernetes/client-node'],
    ['runtime/cache/tiers.ts', '@nats-io/jetstream'],
    ['runtime/commands/bus.ts', 'cockatiel'],
    ['runtime/commands/bus.ts', 'left-pad'],
    ['runtime/features/tasks/decide.ts', 'uuid'],
    ['runtime/tenancy/identify.ts', 'node:net'],
    ['operator/tenant/plan.ts', 'node:crypto'],
    ['runtime/commands/bus.ts', '../features/tasks/index.ts'],
    ['operator/loop/queue.ts', '../tenant/plan.ts'],
    ['operator/settings.ts', './metrics.ts'],
    ['operator/settings.ts', './main.ts'],
    ['runtime/http/server.ts', '../../test/builders/task.ts'],
  ])('%s may not import %s', (path, target) => {
    expect(judge(file(path, `import { x } from '${target}'`))).not.toEqual([])
  })

  test('a cycle, also one of types only', () => {
    const one = file('runtime/cache/a.ts', `import type { B } from './b.ts'`)
    const two = file('runtime/cache/b.ts', `import type { A } from './a.ts'`)
    expect(judge(one, two)).toEqual(['runtime/cache/a.ts -> runtime/cache/b.ts -> runtime/cache/a.ts: imports go round in a circle'])
  })
})

describe('what should be is let through', () => {
  test.each([
    ['runtime/main.ts', './metrics.ts'],
    ['runtime/shards/pools.ts', 'pg'],
    ['runtime/routing/table.ts', '../../config/routing.ts'],
    ['runtime/commands/bus.ts', '../features/feature.ts'],
    ['runtime/features/tasks/decide.ts', 'zod'],
    ['operator/tenant/plan.ts', '../../crds/tenant.ts'],
    ['test/bench/peer.ts', 'pg'],
  ])('%s may import %s', (path, target) => {
    expect(judge(file(path, `import { x } from '${target}'`))).toEqual([])
  })

  test('a unit test beside the code is held to nothing', () => {
    expect(judge(file('runtime/tenancy/identify.test.ts', `import { x } from '../../test/builders/route.ts'`))).toEqual([])
  })
})
