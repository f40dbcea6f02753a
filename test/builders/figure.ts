/** Prints a figure that a test has measured, for those who read the run's output. */
export function printFigure(line: string): void {
  process.stdout.write(`${line}\n`)
}
