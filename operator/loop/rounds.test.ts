import { expect, test } from 'vitest'
import { Rounds } from './rounds.ts'

/** Work that says when it began, and ends when it is let. */
function gated() {
  const began: string[] = []
  const gates: PromiseWithResolvers<void>[] = []
  const work = (name: string) => async () => {
    began.push(name)
    const gate = Promise.withResolvers<void>()
    gates.push(gate)
    await gate.promise
    return name
  }
  return { began, work, next: () => gates.shift()?.resolve() }
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 5))
const unrested = () => new Rounds(() => 0)

test('who asks while a round is under way shares the next, which begins after that', async () => {
  const { began, work, next } = gated()
  const rounds = unrested()
  const first = rounds.share('a', work('first'))
  await settled()
  const others = ['second', 'third', 'fourth'].map((name) => rounds.share('a', work(name)))
  await settled()
  expect(began).toEqual(['first'])
  next()
  await settled()
  next()
  expect(await Promise.all([first, ...others])).toEqual(['first', 'second', 'second', 'second'])
  expect(began).toEqual(['first', 'second'])
})

test('a round is given what all who share it have brought', async () => {
  const { began, work, next } = gated()
  const rounds = unrested()
  const first = rounds.share('a', work('first'), 1)
  await settled()
  const given = [2, 3, 4].map((item) => rounds.share('a', async (items) => items, item))
  next()
  expect(await Promise.all([first, ...given])).toEqual(['first', [2, 3, 4], [2, 3, 4], [2, 3, 4]])
  expect(began).toEqual(['first'])
})

test('rounds for different things take turns', async () => {
  const { began, work, next } = gated()
  const rounds = unrested()
  const all = [rounds.share('a', work('a')), rounds.share('b', work('b'))]
  await settled()
  expect(began).toEqual(['a'])
  next()
  await settled()
  expect(began).toEqual(['a', 'b'])
  next()
  expect(await Promise.all(all)).toEqual(['a', 'b'])
})

test('a round that fails, fails for all who share it and for nobody after', async () => {
  const rounds = unrested()
  const fail = () => Promise.reject(new Error('lost'))
  const shared = [rounds.share('a', fail), rounds.share('a', fail)]
  expect((await Promise.allSettled(shared)).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await rounds.share('a', async () => 'well')).toBe('well')
})

test('it rests after a round by how long that took', async () => {
  const took: number[] = []
  const rest = Promise.withResolvers<number>()
  const rounds = new Rounds((ms) => {
    took.push(ms)
    rest.resolve(ms)
    return 20
  })
  await rounds.share('a', settled)
  await rest.promise
  const asked = performance.now()
  await rounds.share('a', async () => undefined)
  expect(performance.now() - asked).toBeGreaterThan(10)
  expect(took[0]).toBeGreaterThan(3)
})
