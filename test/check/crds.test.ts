import { expect, test } from 'vitest'
import { compile } from './crd-types.ts'
import { assertions, readCrd, type Schema } from './crds.ts'

const text: Schema = { type: 'string' }
const object = (properties: Record<string, Schema>, required: string[] = Object.keys(properties)): Schema => ({
  type: 'object',
  properties,
  required,
})

const CASES: readonly { name: string; type: string; schema: Schema; holds: boolean }[] = [
  { name: 'equal', type: '{ a: string; b?: number }', schema: object({ a: text, b: { type: 'integer' } }, ['a']), holds: true },
  { name: 'default', type: '{ a: number }', schema: object({ a: { type: 'integer', default: 1 } }, []), holds: true },
  { name: 'list', type: '{ name: string }[]', schema: { type: 'array', items: object({ name: text }) }, holds: true },
  { name: 'map', type: 'Record<string, string>', schema: { type: 'object', additionalProperties: text }, holds: true },
  { name: 'free', type: 'Record<string, unknown>', schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }, holds: true },
  { name: 'only-in-manifest', type: '{ a: string }', schema: object({ a: text, b: text }, ['a']), holds: false },
  { name: 'only-in-type', type: '{ a: string; b?: string }', schema: object({ a: text }), holds: false },
  { name: 'optional', type: '{ a?: string }', schema: object({ a: text }), holds: false },
  { name: 'required', type: '{ a: string }', schema: object({ a: text }, []), holds: false },
  { name: 'word-missing', type: '"x"', schema: { type: 'string', enum: ['x', 'y'] }, holds: false },
  { name: 'word-too-many', type: '"x" | "y"', schema: { type: 'string', enum: ['x'] }, holds: false },
  { name: 'any-text', type: 'string', schema: { type: 'string', enum: ['x'] }, holds: false },
  { name: 'number', type: 'string', schema: { type: 'integer' }, holds: false },
  { name: 'no-list', type: 'Record<number, string>', schema: { type: 'array', items: text }, holds: false },
  {
    name: 'deep',
    type: '{ a: { b: string[] } }',
    schema: object({ a: object({ b: { type: 'array', items: { type: 'boolean' } } }) }),
    holds: false,
  },
]

test('tsc refuses a type exactly where it differs from the schema', async () => {
  const lines = CASES.flatMap(({ name, type, schema }, index) => [`type T${index} = ${type}`, ...assertions(`T${index}`, name, schema)])
  const faults = await compile('.test/check-planted', lines.join('\n'))
  const places = new Set(faults.map((fault) => fault.split(/[.:[]/)[0]))
  expect([...places]).toEqual(CASES.filter((planted) => !planted.holds).map(({ name }) => name))
  expect(faults.find((fault) => fault.startsWith('deep'))).toContain(`deep.a.b[]: Type 'string' is not assignable to type 'boolean'`)
})

test('what is no CustomResourceDefinition is refused', () => {
  expect(() => readCrd({ kind: 'ConfigMap' })).toThrow()
})
