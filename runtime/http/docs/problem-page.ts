import type { Operation } from '../openapi/operation.ts'
import { problemExamples } from '../openapi/responses.ts'
import { PROBLEM_TYPES } from '../problem-types.ts'
import { operationLink, page } from './layout.ts'
import { html, json, NOTHING, prose } from './markup.ts'

/** A page for each kind of problem, by its code: what it means, what to do, what it looks like, where it is met. */
export function problemPages(operations: readonly Operation[]): Map<string, string> {
  const examples = problemExamples()
  return new Map(
    Object.entries(PROBLEM_TYPES).map(([code, { title, meaning, on }]) => {
      const { value } = examples[code] ?? {}
      const statuses = Object.values(examples).flatMap((example) => (example.value.type === value?.type ? example.value.status : []))
      const where = operations.filter(on)
      const main = html`<p class="faint">Problem <code>${code}</code>, status ${statuses.join(', ')}</p><h1>${title}</h1>
<p>${prose(meaning)}</p><h2>Example</h2>${json('Example', value)}
<p class="faint">Answers of this kind are <code>application/problem+json</code>. <code>type</code> is for programs and stays the same; <code>detail</code> is for people.
With <code>requestId</code> those who run this platform find the request in the log.</p>
${where.length === 0 ? NOTHING : html`<h2>Where it may be met</h2><ul>${where.map((one) => html`<li>${operationLink(one)}</li>`)}</ul>`}`
      return [code, page(title, operations, main)]
    }),
  )
}
