import { hash } from 'node:crypto'
import type { Operation } from '../openapi/operation.ts'
import { PROBLEM_TYPES, problemType } from '../problem-types.ts'
import { html, type Markup } from './markup.ts'
import { STYLE } from './style.ts'

/** What a page may load: nothing but the style that stands in it. */
export const PAGE_POLICY = [
  "default-src 'none'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  `style-src 'sha256-${hash('sha256', STYLE, 'base64')}'`,
].join('; ')

/** A whole page, with the way to every other. */
export function page(title: string, operations: readonly Operation[], main: Markup): string {
  const { markup } = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title} – Tenantry</title>
<style>${{ markup: STYLE }}</style></head>
<body><nav aria-label="Contents"><ul><li><a href="/docs">Tenantry's API</a></li><li><a href="/openapi.json">openapi.json</a></li></ul>
${groupsOf(operations).map(([tag, group]) => html`<h2>${tag}</h2><ul>${group.map(entry)}</ul>\n`)}
<h2>problems</h2><ul>${Object.keys(PROBLEM_TYPES).map((code) => html`<li>${problemLink(code)}</li>`)}</ul></nav>
<main>${main}</main></body></html>
`
  return markup
}

/** The operations under each tag. */
export function groupsOf(operations: readonly Operation[]): [string, Operation[]][] {
  return [...Map.groupBy(operations, ({ tag }) => tag)]
}

/** The way to the page of a kind of problem. */
export function problemLink(code: string): Markup {
  return html`<a href="${problemType(code)}">${code}</a>`
}

/** The way to an operation. */
export function operationLink({ id, method, path }: Operation): Markup {
  return html`<a href="/docs#${id}"><span class="method ${method}">${method.toUpperCase()}</span> ${path}</a>`
}

function entry(operation: Operation): Markup {
  return html`<li>${operationLink(operation)}</li>`
}
