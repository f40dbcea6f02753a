import { expect, test } from 'vitest'
import { type Holder, Places } from './places.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('no more than there are; who waits is let in in the order of asking', async () => {
  const places = new Places(2, 10_000)
  const order: number[] = []
  const [first, second] = [await places.take(), await places.take()]
  const waiting = [1, 2].map((number) =>
    places.take().then((leave) => {
      order.push(number)
      return leave
    }),
  )
  await turn()
  expect(order).toEqual([])
  first()
  first()
  await turn()
  expect(order).toEqual([1])
  second()
  await Promise.all(waiting)
  expect(order).toEqual([1, 2])
})

test('who waits too long is told to come again', async () => {
  const places = new Places(1, 1)
  const leave = await places.take()
  await expect(places.take()).rejects.toMatchObject({ code: 'overloaded', retryAfter: 1 })
  leave()
  await places.take()
})

test('each shortage is told of while one of those who could end it is known', async () => {
  const holders: Holder[] = [1, 2, 3].map(() => ({ places: 0 }))
  const seen: number[][] = []
  const places = new Places(1, 10_000, (short) => seen.push([short, ...holders.map((holder) => holder.places)]))
  const leave = await places.take(holders[0])
  const waiting = holders.slice(1).map((holder) => places.take(holder))
  leave()
  expect(seen).toEqual([
    [1, 1, 0, 0],
    [2, 1, 0, 0],
    [1, 0, 1, 0],
  ])
  for (const one of waiting) (await one)()
  expect(holders.map((holder) => holder.places)).toEqual([0, 0, 0])
})

test('fewer places are told of until enough are given back, more let others in at once', async () => {
  const seen: number[] = []
  const places = new Places(3, 10_000, (short) => seen.push(short))
  const leaves = [await places.take(), await places.take(), await places.take()]
  places.resize(1)
  leaves[0]?.()
  leaves[1]?.()
  expect(seen).toEqual([2, 1])
  const another = places.take()
  places.resize(2)
  await another
})
