import { channel } from 'node:diagnostics_channel'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createBreaker } from './breaker.ts'

class Away extends Error {}
const fail = () => Promise.reject(new Away('away'))
const options = { failures: 3, halfOpenAfter: 30, counts: (error: unknown) => error instanceof Away }

async function outcome(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: Error) => (error.name === 'DependencyDown' ? 'down' : error.message))
}

test('opens after so many counted failures in a row, probes once, and closes', async () => {
  const states: unknown[] = []
  const listen = (message: unknown) => states.push(message)
  channel('tenantry:breaker').subscribe(listen)
  const breaker = createBreaker('test', options)
  for (let round = 0; round < 3; round += 1) expect(await outcome(breaker.run(fail))).toBe('away')
  expect(await outcome(breaker.run(fail))).toBe('down')
  expect(breaker.state()).toBe(2)
  await setTimeout(40)
  const probe = Promise.withResolvers<string>()
  const probing = breaker.run(() => probe.promise)
  expect(await outcome(breaker.run(() => Promise.resolve('others do not wait for the probe')))).toBe('down')
  probe.resolve('back')
  expect(await probing).toBe('back')
  expect(breaker.state()).toBe(0)
  channel('tenantry:breaker').unsubscribe(listen)
  expect(states).toEqual([0, 2, 1, 0].map((state) => ({ dependency: 'test', state })))
})

test('what does not count proves that the dependency answers', async () => {
  const breaker = createBreaker('test', options)
  for (let round = 0; round < 10; round += 1) {
    expect(await outcome(breaker.run(fail))).toBe('away')
    expect(await outcome(breaker.run(fail))).toBe('away')
    expect(await outcome(breaker.run(() => Promise.reject(new Error('refused'))))).toBe('refused')
  }
  expect(breaker.state()).toBe(0)
})
