import type { OpenApiDocument } from '../openapi/document.ts'
import type { Operation } from '../openapi/operation.ts'
import type { JsonSchema } from '../openapi/schemas.ts'
import { groupsOf, page, problemLink } from './layout.ts'
import { code, html, json, type Markup, NOTHING, prose, table } from './markup.ts'
import { fieldsOf, typeOf } from './schema.ts'

type Described = OpenApiDocument['paths'][string][string]
type Response = Described['responses'][string]

/** The page of all operations: what they take, what they answer, what may go wrong. */
export function referencePage(operations: readonly Operation[], document: OpenApiDocument): string {
  const groups = groupsOf(operations).map(
    ([tag, group]) => html`<h2 id="${tag}">${tag}</h2>${group.map((operation) => section(operation, document))}`,
  )
  const shapes = Object.entries(document.components.schemas).map(([name, schema]) => shape(name, schema))
  return page(
    'The API',
    operations,
    html`<h1>${document.info.title}</h1><p>${prose(document.info.description)}</p>${credentials(document)}${groups}<h2 id="shapes">Shapes</h2>${shapes}`,
  )
}

function credentials({ components }: OpenApiDocument): Markup {
  const { TenantId } = components.parameters
  const schemes = Object.values(components.securitySchemes)
  const rows = [
    ...schemes.map((scheme) => [html`<code>${'name' in scheme ? scheme.name : 'Authorization: Bearer'}</code>`, prose(scheme.description)]),
    [html`<code>${TenantId.name}</code>`, prose(TenantId.description)],
  ]
  return html`<h2 id="credentials">Who is calling</h2>${table('Credentials', ['header', 'what it says'], rows)}`
}

function section(operation: Operation, document: OpenApiDocument): Markup {
  const { id, method, path, summary, access } = operation
  const described = document.paths[path]?.[method]
  if (described === undefined) return NOTHING
  const responses = Object.entries(described.responses)
  const answers = responses.filter(([status, { content = {} }]) => Number(status) < 400 || 'application/json' in content)
  return html`<section id="${id}"><h3><span class="method ${method}">${method.toUpperCase()}</span><code>${path}</code></h3>
<p>${summary}. <span class="faint">${access === 'public' ? 'No credential is needed.' : html`Scope <code>${access}</code>.`}</span></p>
${parameters(id, described)}${body(id, described)}${example(operation, described)}
<h4>Answers</h4>${table(`Answers of ${id}`, ['status', 'what it is', 'body'], answers.map(answerRow))}
<details><summary>What may go wrong</summary>${table(
    `Problems of ${id}`,
    ['status', 'problem'],
    responses.flatMap((response) => problemRows(document, response)),
  )}</details></section>`
}

function parameters(id: string, { parameters }: Described): Markup {
  const rows = parameters.flatMap((parameter) =>
    'name' in parameter
      ? [
          [
            html`<code>${parameter.name}</code>`,
            parameter.in,
            typeOf(parameter.schema),
            parameter.required === true ? 'yes' : 'no',
            prose(parameter.description ?? ''),
          ],
        ]
      : [],
  )
  return rows.length === 0
    ? NOTHING
    : html`<h4>Parameters</h4>${table(`Parameters of ${id}`, ['name', 'in', 'what it is', 'required', ''], rows)}`
}

function body(id: string, { requestBody }: Described): Markup {
  return requestBody === undefined
    ? NOTHING
    : html`<h4>Body</h4>${fieldsOf(`Body of ${id}`, requestBody.content['application/json'].schema)}`
}

function example({ id, method, path, access }: Operation, { requestBody }: Described): Markup {
  const schema: JsonSchema | undefined = requestBody?.content['application/json'].schema
  const [sent] = schema?.examples ?? []
  const lines = [
    `curl${method === 'get' ? '' : ` -X ${method.toUpperCase()}`} "$TENANTRY_URL${path}"`,
    ...(access === 'public' ? [] : ['-H "X-API-Key: $KEY"']),
    ...(sent === undefined ? [] : ["-H 'Content-Type: application/json'", `-d '${JSON.stringify(sent)}'`]),
  ]
  return code(`Request of ${id}`, lines.join(' \\\n  '))
}

function answerRow([status, { description, content = {} }]: [string, Response]): (string | Markup)[] {
  const [type, { schema } = { schema: {} }] = Object.entries(content)[0] ?? ['']
  const name = '$ref' in schema ? String(schema.$ref).split('/').at(-1) : undefined
  return [status, prose(description), name === undefined ? type : html`<a href="#shape-${name}">${name}</a>`]
}

/** A row for each problem of an answer; an example has the name of its code, but for what node's parser refuses. */
function problemRows({ components }: OpenApiDocument, [status, { content = {} }]: [string, Response]): (string | Markup)[][] {
  const names = Object.keys(content['application/problem+json']?.examples ?? {})
  return names.map((name) => [status, problemLink(components.examples[name]?.value.type.split('/').at(-1) ?? name)])
}

function shape(name: string, schema: JsonSchema): Markup {
  const [sample] = schema.examples ?? []
  return html`<section id="shape-${name}"><h3>${name}</h3><p>${prose(schema.description ?? '')}</p>${fieldsOf(`Fields of ${name}`, schema)}${sample === undefined ? NOTHING : json(`Example of ${name}`, sample)}</section>`
}
