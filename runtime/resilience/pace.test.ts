import { expect, test, vi } from 'vitest'
import { Pace } from './pace.ts'

test('a key that was served rests, tells when it has, and holds up no other', async () => {
  const rested = vi.fn()
  const pace = new Pace(rested)
  expect(pace.isResting('a')).toBe(false)
  pace.rest('a', 1)
  expect([pace.isResting('a'), pace.isResting('b')]).toEqual([true, false])
  await vi.waitFor(() => expect(rested).toHaveBeenCalledOnce())
  expect(pace.isResting('a')).toBe(false)
})
