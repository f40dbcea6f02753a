/** Text that is HTML already: the only thing that `html` takes in as it stands. */
export type Markup = { readonly markup: string }

type Content = Markup | string | number | readonly Markup[]

/** Writes HTML. Whatever is put in is text, and is escaped, unless it is Markup itself. */
export function html(parts: TemplateStringsArray, ...contents: readonly Content[]): Markup {
  return { markup: parts.map((part, at) => part + (at < contents.length ? written(contents[at] ?? '') : '')).join('') }
}

/** Nothing. */
export const NOTHING: Markup = { markup: '' }

/** A sentence in which what stands in backticks is code. */
export function prose(text: string): Markup {
  return {
    markup: text
      .split('`')
      .map((part, at) => (at % 2 === 0 ? escaped(part) : `<code>${escaped(part)}</code>`))
      .join(''),
  }
}

/** A value as JSON, over several lines. The label is what it is called, as that of a table. */
export function json(label: string, value: unknown): Markup {
  return code(label, JSON.stringify(value, null, 2))
}

/** Lines of code. */
export function code(label: string, text: string): Markup {
  return html`<pre ${scrolled(label)}><code>${text}</code></pre>`
}

/** A table; no rows: nothing. The label is what it is called where it is heard and not seen; each of a page has another. */
export function table(label: string, heads: readonly string[], rows: readonly (readonly Content[])[]): Markup {
  if (rows.length === 0) return NOTHING
  const cells = (row: readonly Content[]) => row.map((cell) => html`<td>${cell}</td>`)
  return html`<div class="wide" ${scrolled(label)}><table><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${cells(row)}</tr>\n`)}</tbody></table></div>`
}

// What may be wider than the window is scrolled in its own place, for which it has to be come to by keyboard.
function scrolled(label: string): Markup {
  return html`role="region" aria-label="${label}" tabindex="0"`
}

function written(content: Content): string {
  if (typeof content === 'string' || typeof content === 'number') return escaped(String(content))
  return 'markup' in content ? content.markup : content.map(({ markup }) => markup).join('')
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;')
}
