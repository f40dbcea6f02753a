/** How many tests ran, and how they ended. */
export type Tally = { passed: number; failed: number }

/** The last line of every run, alone on its line: the sum of all that ran. */
export function closingLine(tally: Tally): string {
  return `${tally.passed} passed, ${tally.failed} failed`
}

/** One line of progress: how it ended, after how many seconds, and what it was. */
export function progressLine(mark: 'ok' | 'FAIL', milliseconds: number, name: string): string {
  return `${mark.padStart(4)} ${(milliseconds / 1000).toFixed(2).padStart(7)} s  ${name}`
}

/** The exit code of a run: a run in which nothing ran has proved nothing. */
export function exitCode(tally: Tally): 0 | 1 {
  return tally.failed === 0 && tally.passed > 0 ? 0 : 1
}
