import { expect, test } from 'vitest'
import { formatCloudEvent, parseCloudEvent } from './cloud-event.ts'
import { everySubject, subjectOf } from './subjects.ts'

const event = {
  tenantUid: '3f0c5a52-9f7e-4f0e-8d3a-0d6a3a1f7b11',
  position: 7,
  id: '01900000-0000-7000-8000-000000000000',
  type: 'task.created',
  aggregateId: '01900000-0000-7000-8000-000000000001',
  aggregateVersion: 1,
  data: { task: { title: 'x' } },
  time: '2026-01-01T00:00:00.000Z',
}

test('an event is CloudEvents 1.0 JSON, and comes back the same', () => {
  expect(JSON.parse(formatCloudEvent(event))).toMatchObject({
    specversion: '1.0',
    id: event.id,
    source: `/tenants/${event.tenantUid}`,
    type: 'task.created',
    time: event.time,
    tenantid: event.tenantUid,
    aggregateversion: 1,
    position: 7,
    data: event.data,
  })
  expect(parseCloudEvent(formatCloudEvent(event))).toEqual(event)
})

test.for(['', 'null', '{', '{"specversion":"1.0"}', '{"specversion":"0.3"}'])('%j is no event', (text) => {
  expect(parseCloudEvent(text)).toBeUndefined()
})

test('a subject names tenant, aggregate and event', () => {
  expect(subjectOf('tenantry', event.tenantUid, event.type)).toBe(`tenantry.${event.tenantUid}.task.created`)
  expect(everySubject('tenantry')).toBe('tenantry.>')
})
