import { expect, test } from 'vitest'
import { definitionsOf, kindsOf, type OpenApi } from './openapi.ts'

const TAG = { group: 'apps', version: 'v1', kind: 'Thing' }
const DOCUMENT: OpenApi = {
  components: {
    schemas: {
      thing: {
        'x-kubernetes-group-version-kind': [TAG, { ...TAG, version: 'v2' }],
        properties: { spec: { allOf: [{ $ref: '#/components/schemas/spec' }] }, list: { items: { properties: { a: {} } } } },
      },
      spec: { properties: { properties: { additionalProperties: { $ref: '#/components/schemas/spec' } }, $ref: { type: 'string' } } },
      open: { properties: { a: {} }, 'x-kubernetes-preserve-unknown-fields': true, anyOf: [{ properties: { a: {} } }] },
    },
  },
}

test('an object may have the fields that its schema declares and no others, unless the schema says so', () => {
  const { thing, spec, open } = definitionsOf(DOCUMENT)
  expect(thing).toMatchObject({
    properties: { spec: { allOf: [{ $ref: '#/definitions/spec' }] }, list: { items: { additionalProperties: false } } },
    additionalProperties: false,
  })
  expect(spec).toEqual({
    properties: { properties: { additionalProperties: { $ref: '#/definitions/spec' } }, $ref: { type: 'string' } },
    additionalProperties: false,
  })
  expect(open).toEqual(DOCUMENT.components.schemas.open)
})

test('the kinds of a group and version are those that say so', () => {
  expect(kindsOf(DOCUMENT, 'apps', 'v1')).toEqual([['Thing', 'thing']])
  expect(kindsOf(DOCUMENT, '', 'v1')).toEqual([])
})
