import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { KEY_PREFIX_LENGTH } from '../../config/routing.ts'
import { printFigure } from '../../test/builders/figure.ts'
import { buildDocument, buildRoute } from '../../test/builders/routing.ts'
import { buildTable } from '../routing/table.ts'
import { findKey } from './find-key.ts'

const SAMPLES = 600
const CALLS = 100

/** As long as a key may be, so that a comparison which stops early has the most to tell. */
const KNOWN = tokenOf('tnt_AAAAAAAA', 244)
const prefix = KNOWN.slice(0, KEY_PREFIX_LENGTH)
const sha256 = createHash('sha256').update(KNOWN).digest('hex')
const { byKey } = buildTable([buildDocument([buildRoute({ keys: [{ name: 'web', sha256, prefix }] })])], new Map(), new Map())

const GUESSES = {
  'wrong from the first': copyOf(`${prefix}_${KNOWN.slice(KEY_PREFIX_LENGTH + 1)}`),
  'wrong at the last': copyOf(`${KNOWN.slice(0, -1)}_`),
  'unknown prefix': copyOf(`tnt_BBBBBBBB${KNOWN.slice(KEY_PREFIX_LENGTH)}`),
}
type Guess = keyof typeof GUESSES

function tokenOf(start: string, length: number): string {
  return copyOf(start + randomBytes(length).toString('base64url').slice(0, length))
}

/** The same characters in one piece of memory: how a string came about must not show. */
function copyOf(text: string): string {
  return Buffer.from(text).toString('latin1')
}

/** Microseconds that one look takes for each guess, in turns, so that whatever else the machine does meets all alike. */
function measure(look: (token: string) => unknown): Record<Guess, number[]> {
  const taken: Record<Guess, number[]> = { 'wrong from the first': [], 'wrong at the last': [], 'unknown prefix': [] }
  const guesses = Object.keys(GUESSES) as Guess[]
  for (let sample = -50; sample < SAMPLES; sample += 1) {
    for (const guess of guesses.toSorted(() => Math.random() - 0.5)) {
      const token = GUESSES[guess]
      const since = performance.now()
      for (let call = 0; call < CALLS; call += 1) look(token)
      // The first ones are for the compiler.
      if (sample >= 0) taken[guess].push(((performance.now() - since) * 1_000) / CALLS)
    }
  }
  return taken
}

/** In what part of the turns the first took less time than the second: 1/2 when time tells nothing. Within a turn, so that a slow second is no matter. */
function shorter(first: readonly number[], second: readonly number[]): number {
  const wins = first.map((one, turn) => (one < (second[turn] ?? 0) ? 1 : one === second[turn] ? 1 / 2 : 0))
  return wins.reduce((sum: number, win) => sum + win, 0) / wins.length
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** What the test must find out: a comparison that stops at the first difference, some times over to stand out on a busy machine. */
function stopsEarly(token: string): boolean {
  let isSame = true
  for (let round = 0; round < 4; round += 1) {
    let index = 0
    while (index < KNOWN.length && token[index] === KNOWN[index]) index += 1
    isSame &&= index === KNOWN.length
  }
  return isSame
}

test('TI-05: how long a look for a key takes tells nothing of its secret', () => {
  const taken = measure((token) => findKey(token, byKey, 0))
  const control = measure((token) => stopsEarly(token) || findKey(token, byKey, 0))
  const told = shorter(taken['wrong from the first'], taken['wrong at the last'])
  const wouldTell = shorter(control['wrong from the first'], control['wrong at the last'])
  const [known, unknown] = [median(taken['wrong at the last']), median(taken['unknown prefix'])]
  printFigure(
    `TI-05: the nearer of two guesses takes longer in ${(told * 100).toFixed(0)} % of ${SAMPLES} turns (50: nothing told), with a comparison that stops early ` +
      `in ${(wouldTell * 100).toFixed(0)} %; known prefix ${known.toFixed(2)} µs, unknown ${unknown.toFixed(2)} µs`,
  )
  // By chance alone it is so far off once in a hundred million times.
  expect(Math.abs(told - 1 / 2)).toBeLessThan(0.12)
  expect(wouldTell).toBeGreaterThan(0.7)
  // The prefix is no secret, and still no oracle.
  expect(Math.max(known / unknown, unknown / known)).toBeLessThan(3)
})
