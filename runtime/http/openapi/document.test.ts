import { Validator } from '@seriousme/openapi-schema-validator'
import { expect, test } from 'vitest'
import { ERRORS } from '../../errors.ts'
import type { Feature } from '../../features/feature.ts'
import { tasks } from '../../features/tasks/index.ts'
import { users } from '../../features/users/index.ts'
import { describe } from './document.ts'
import { commandOperation, queryOperation } from './operation.ts'
import { inputSchema } from './schemas.ts'

const operationsOf = ({ name, queries, commands }: Feature) => [
  ...queries.map((query) => queryOperation(query, name)),
  ...commands.map((command) => commandOperation(command, name)),
]
const operations = operationsOf(tasks)

test('the document is OpenAPI 3.1', async () => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(JSON.parse(JSON.stringify(describe(operations))))
  expect(errors).toBeUndefined()
  expect([valid, validator.version]).toEqual([true, '3.1'])
})

test('parameters, bodies and answers are those of the schemas that parse', () => {
  const { paths, components } = JSON.parse(JSON.stringify(describe(operations)))
  const { get, patch, delete: remove } = paths['/v1/tasks/{id}']
  expect(get.parameters[0]).toEqual({
    name: 'id',
    in: 'path',
    required: true,
    description: 'The id of the task.',
    schema: { type: 'string', format: 'uuid' },
  })
  const body = patch.requestBody.content['application/json'].schema
  expect(Object.keys(body.properties)).toEqual(['title', 'description', 'priority', 'tags', 'dueDate', 'assignee', 'status'])
  expect(body).toMatchObject({ required: [], additionalProperties: false, properties: { title: { minLength: 1, maxLength: 200 } } })
  expect(remove.responses[204]).toEqual({ description: expect.any(String) })
  const limit = paths['/v1/tasks'].get.parameters.find(({ name }: { name: string }) => name === 'limit')
  expect(limit).toMatchObject({ in: 'query', required: false, schema: { type: 'integer', minimum: 1, maximum: 100, default: 50 } })
  expect(Object.keys(components.schemas).sort()).toEqual(['Problem', 'Task', 'TaskPage', 'TaskStatistics'])
})

test('there is an example of every error, and operations refer to those that they may meet', () => {
  const { paths, components } = JSON.parse(JSON.stringify(describe(operations)))
  expect(Object.keys(components.examples)).toEqual([...Object.keys(ERRORS), 'request-timeout', 'headers-too-large'])
  const named = (status: number) => Object.keys(paths['/v1/tasks'].post.responses[status].content['application/problem+json'].examples)
  expect(named(400)).toEqual(['invalid-request', 'tenant-conflict'])
  expect(named(503)).toEqual(['shard-unavailable', 'overloaded'])
  expect(Object.keys(paths['/v1/tasks/{id}'].get.responses)).toEqual(expect.arrayContaining(['200', '304', '404']))
  expect(Object.keys(paths['/v1/tasks'].get.responses)).not.toContain('412')
})

test.each([...operationsOf(tasks), ...operationsOf(users)].filter((operation) => inputSchema(operation).required.length > 0))(
  'the example of what $id takes is one that it takes',
  (operation) => {
    const id = operation.path.includes('{') ? { id: '01890a5d-ac96-774b-bcce-b302099a8057' } : {}
    const { examples: [example] = [{}], properties } = inputSchema(operation)
    expect(operation.input.safeParse({ ...Object(example), ...id })).toMatchObject({ success: true })
    if (operation.isCommand && Object.keys(properties).some((name) => name !== 'id')) expect(example).not.toEqual({})
  },
)

test('what stands without a name is refused at once', () => {
  const [first] = operations
  if (first === undefined) throw new Error('no operation')
  const nameless = { ...first, answers: [{ status: 200, description: '', type: 'application/json', schema: first.input }] as const }
  expect(() => describe([nameless])).toThrow('needs a title')
})
