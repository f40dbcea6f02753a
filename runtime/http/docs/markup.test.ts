import { expect, test } from 'vitest'
import { html, json, prose, table } from './markup.ts'

const HOSTILE = `<script>"'&</script>`
const ESCAPED = '&lt;script&gt;&quot;&#39;&amp;&lt;/script&gt;'

test('whatever is put in is text', () => {
  expect(html`<p title="${HOSTILE}">${HOSTILE}</p>`.markup).toBe(`<p title="${ESCAPED}">${ESCAPED}</p>`)
  expect(prose(`${HOSTILE} \`${HOSTILE}\``).markup).toBe(`${ESCAPED} <code>${ESCAPED}</code>`)
  expect(json(HOSTILE, { a: HOSTILE }).markup).not.toContain('<script>')
  expect(table(HOSTILE, [HOSTILE], [[HOSTILE]]).markup).not.toContain('<script>')
})

test('markup is taken in as it stands, also many at once', () => {
  expect(html`${[html`<i>1</i>`, html`<i>2</i>`]} ${3}`.markup).toBe('<i>1</i><i>2</i> 3')
})
