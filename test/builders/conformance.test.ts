import { expect, test } from 'vitest'
import { tasks } from '../../runtime/features/tasks/index.ts'
import { SAFE_HEADERS } from '../../runtime/http/exchange.ts'
import { describe } from '../../runtime/http/openapi/document.ts'
import { commandOperation, queryOperation } from '../../runtime/http/openapi/operation.ts'
import { type Exchanged, problemsOf, readContract } from './conformance.ts'

const operations = [
  ...tasks.queries.map((one) => queryOperation(one, 'tasks')),
  ...tasks.commands.map((one) => commandOperation(one, 'tasks')),
]
const contract = readContract(JSON.stringify(describe(operations)))
const HEADERS = { ...SAFE_HEADERS, 'x-request-id': 'abc' }
const PATH = '/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057'
const TASK = {
  ...{ id: PATH.slice(10), title: 'x', description: null, priority: 'low', status: 'pending', tags: [], dueDate: null, assignee: null },
  ...{ version: 1, createdAt: '2027-01-02T08:30:00.000Z', updatedAt: '2027-01-02T08:30:00.000Z', completedAt: null },
}
const MISSING = { type: '/docs/problems/not-found', title: 'x', status: 404, detail: 'x', requestId: 'abc' }

function answer(
  status: number,
  body: object | string,
  more: { method?: string; path?: string; headers?: Record<string, string> } = {},
): Exchanged {
  const type = status < 400 ? 'application/json' : 'application/problem+json'
  const { method = 'GET', path = PATH, headers } = more
  const content = typeof body === 'string' ? body : JSON.stringify(body)
  return { method, path, status, headers: { ...HEADERS, 'content-type': type, etag: '"1"', ...headers }, body: content }
}

test.each<[string, Exchanged]>([
  ['a task', answer(200, TASK)],
  ['HEAD', answer(200, '', { method: 'HEAD' })],
  ['304', answer(304, '')],
  ['a problem', answer(404, MISSING)],
  ['nothing at a path', answer(404, MISSING, { path: '/v1/nothing' })],
  ['another method', answer(405, { ...MISSING, status: 405 }, { method: 'PUT', headers: { allow: 'GET' } })],
])('%s is as the document says', (_, exchanged) => {
  expect(contract.faultsOf(exchanged)).toEqual([])
})

test.each<[string, Exchanged, string]>([
  ['a field too many', answer(200, { ...TASK, secret: 1 }), 'additional properties'],
  ['a field missing', answer(200, { ...TASK, title: undefined }), 'title'],
  ['a wrong type', answer(200, { ...TASK, version: '1' }), 'version must be integer'],
  ['a time that is none', answer(200, { ...TASK, createdAt: 'now' }), 'date-time'],
  ['another status', answer(202, TASK), 'does not answer 202'],
  ['another type', answer(200, 'x', { headers: { 'content-type': 'text/plain' } }), 'does not answer text/plain'],
  ['a weak ETag', answer(200, TASK, { headers: { etag: 'W/"1"' } }), 'ETag'],
  ['304 with a body', answer(304, TASK), 'has a body'],
  ['a problem that cannot be', answer(404, { ...MISSING, type: '/docs/problems/conflict' }), 'none of the problems'],
  ['a problem with another status', answer(404, { ...MISSING, status: 400 }), 'status 400 in the body'],
  ['a problem of another request', answer(404, { ...MISSING, requestId: 'x' }), 'another request id'],
  ['SQL', answer(404, { ...MISSING, detail: 'SELECT a FROM b' }), 'our insides'],
  ['a stack', answer(404, { ...MISSING, detail: 'x at read (a.js)' }), 'our insides'],
  ['an answer at no path', answer(200, TASK, { path: '/v1/nothing' }), 'the document has nothing'],
  ['405 without Allow', answer(405, MISSING, { method: 'PUT' }), 'what is allowed'],
  ['what a shared cache may keep', answer(200, TASK, { headers: { 'cache-control': 'max-age=60' } }), 'cache-control: max-age=60'],
  ['what may be kept, whoever asks', answer(200, TASK, { headers: { 'cache-control': 'private, no-cache' } }), 'may be kept'],
  ['a type to guess', answer(200, TASK, { headers: { 'x-content-type-options': '' } }), 'x-content-type-options'],
  ['x-powered-by', answer(200, TASK, { headers: { 'x-powered-by': 'x' } }), 'x-powered-by'],
])('HT-02: %s is found', (_, exchanged, fault) => {
  expect(contract.faultsOf(exchanged).join('\n')).toContain(fault)
})

test('what was met is kept, and is among what there may be', () => {
  expect([...contract.met]).toContain('GetTask 404 not-found')
  expect(problemsOf(contract)).toContain('GetTask 404 not-found')
})
