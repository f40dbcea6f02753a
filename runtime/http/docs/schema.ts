import type { JsonSchema } from '../openapi/schemas.ts'
import { html, type Markup, prose, table } from './markup.ts'

/** The fields of an object schema as a table of that label; of one of several, a table for each. */
export function fieldsOf(label: string, { anyOf, properties = {}, required = [] }: JsonSchema): Markup {
  if (anyOf !== undefined) return joined(anyOf.map((one, at) => fieldsOf(`${label}, ${at + 1} of ${anyOf.length}`, Object(one))))
  const rows = Object.entries(properties).map(([name, field]) => [
    html`<code>${name}</code>`,
    typeOf(Object(field)),
    required.includes(name) ? 'yes' : 'no',
    prose(descriptionOf(Object(field))),
  ])
  return table(label, ['name', 'what it is', 'required', ''], rows)
}

/** A schema in a few words: `text, 1 to 200 characters, or null`. */
export function typeOf(schema: JsonSchema): Markup {
  const { $ref, anyOf, type } = schema
  if ($ref !== undefined) {
    const name = $ref.split('/').at(-1) ?? ''
    return html`<a href="#shape-${name}">${name}</a>`
  }
  if (anyOf !== undefined) return joined(anyOf.map((one) => typeOf(Object(one))))
  if (schema.const !== undefined) return html`<code>${String(schema.const)}</code>`
  if (Array.isArray(type)) return joined(type.map((one) => typeOf({ ...schema, type: one })))
  if (schema.enum !== undefined) return joined(schema.enum.map((value) => html`<code>${String(value)}</code>`))
  if (type === 'array') return html`list of ${typeOf(Object(schema.items))}${upTo(schema.maxItems)}`
  return prose([WORDS[schema.format ?? ''] ?? WORDS[type ?? ''] ?? 'anything', sizeOf(schema)].filter((part) => part !== '').join(', '))
}

const WORDS: Record<string, string> = {
  string: 'text',
  integer: 'whole number',
  number: 'number',
  boolean: '`true` or `false`',
  object: 'object',
  null: '`null`',
  uuid: 'UUID',
  email: 'e-mail address',
  'date-time': 'RFC 3339 date-time',
  'uri-reference': 'address',
}

function sizeOf({ minLength, maxLength, minimum, maximum }: JsonSchema): string {
  if (maxLength !== undefined) return `${minLength ? `${minLength} to ` : 'at most '}${maxLength} characters`
  if (maximum !== undefined) return `${minimum ?? 0} to ${maximum}`
  return ''
}

function upTo(maxItems: number | undefined): string {
  return maxItems === undefined ? '' : `, at most ${maxItems}`
}

function descriptionOf(schema: JsonSchema): string {
  const preset = schema.default === undefined ? '' : `Default \`${JSON.stringify(schema.default)}\`.`
  return [schema.description ?? '', preset].filter((part) => part !== '').join(' ')
}

function joined(parts: readonly Markup[]): Markup {
  return { markup: parts.map(({ markup }) => markup).join(' or ') }
}
