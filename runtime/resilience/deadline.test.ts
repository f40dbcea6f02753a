import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createDeadline, Deadlines } from './deadline.ts'

const stuck = () => new Promise<never>(() => {})

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('a deadline answers in time, and heeds the caller', async () => {
  const late = expect(createDeadline(10)(stuck)).rejects.toMatchObject({ name: 'DeadlineExceeded', message: 'no result within 10 ms' })
  await vi.advanceTimersByTimeAsync(10)
  await late
  const controller = new AbortController()
  const work = createDeadline(10_000)(stuck, controller.signal)
  controller.abort(new Error('gone'))
  await expect(work).rejects.toThrow('gone')
  await expect(createDeadline(10)(() => Promise.resolve('in time'))).resolves.toBe('in time')
})

test('each work is late at its own time, and none that has ended', () => {
  const late: string[] = []
  const deadlines = new Deadlines<string>(100, (work) => late.push(work))
  const at = (milliseconds: number) => {
    vi.advanceTimersByTime(milliseconds - performance.now() + begun)
    return late
  }
  const begun = performance.now()
  deadlines.begin('first')
  at(60)
  for (const work of ['second', 'ended']) deadlines.begin(work)
  deadlines.end('ended')
  expect(vi.getTimerCount()).toBe(1)
  expect(at(99)).toEqual([])
  expect(at(100)).toEqual(['first'])
  expect(at(159)).toEqual(['first'])
  expect(at(160)).toEqual(['first', 'second'])
  expect(vi.getTimerCount()).toBe(0)
  deadlines.begin('third')
  expect(at(260)).toEqual(['first', 'second', 'third'])
})
