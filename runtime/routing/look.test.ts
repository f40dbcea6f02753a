import { expect, test } from 'vitest'
import { createLook } from './look.ts'

function world(found: () => boolean) {
  const state = { now: 0, reads: [] as number[] }
  const look = createLook({
    read: async () => {
      state.reads.push(state.now)
      return found()
    },
    now: () => state.now,
    sleep: async (milliseconds) => {
      state.now += milliseconds
    },
  })
  return { state, look }
}

test('those who ask at once share one reading', async () => {
  const { state, look } = world(() => false)
  await Promise.all(Array.from({ length: 50 }, look))
  expect(state.reads).toEqual([0])
})

test('who asks while one is under way gets a newer one', async () => {
  const begun = Promise.withResolvers<void>()
  const end = Promise.withResolvers<boolean>()
  let reads = 0
  const look = createLook({
    read: () => {
      reads += 1
      begun.resolve()
      return reads === 1 ? end.promise : Promise.resolve(false)
    },
    now: () => 0,
    sleep: () => Promise.resolve(),
  })
  const first = look()
  await begun.promise
  const second = look()
  expect(second).not.toBe(first)
  end.resolve(true)
  await Promise.all([first, second])
  expect(reads).toBe(2)
})

test('readings that find nothing new move apart, up to a second, and come close again after a find', async () => {
  let found = false
  const { state, look } = world(() => found)
  for (let round = 0; round < 6; round += 1) await look()
  expect(state.reads).toEqual([0, 200, 600, 1400, 2400, 3400])
  found = true
  await look()
  await look()
  expect(state.reads.slice(-2)).toEqual([4400, 4500])
})

test('a reading that fails is told to all who wait, and the next one is tried', async () => {
  let fails = true
  const { look } = world(() => {
    if (fails) throw new Error('away')
    return true
  })
  await Promise.all([look(), look()].map((one) => expect(one).rejects.toThrow('away')))
  fails = false
  await expect(look()).resolves.toBeUndefined()
})
