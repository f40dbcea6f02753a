/** What one line of the table measured: a value for each round, of each side. */
export type Rounds = { ours: number[]; limit: number[]; peers: Record<string, number[]> }

/** When ours is good enough: at least so many times the first peer's value, at most so many times, or at most so much itself. */
export type Target = { atLeast: number } | { atMost: number; of: 'peer' | 'ours' }

/** A line before it has run. */
export type Bench = {
  name: string
  unit: string
  target: Target
  /** Measures ours, peers and limit in turn, in each of the rounds. */
  measure: (rounds: number) => Promise<Rounds>
}

/** One entry of `.tenantry/bench.json`; the values are medians of the rounds. */
export type Figure = {
  name: string
  unit: string
  ours: number
  peers: Record<string, number>
  limit: number
  /** Ours by the first peer. */
  ratio: number
  target: string
  ok: boolean
  rounds: Rounds
  versions: Record<string, string>
}

/** Works a line's medians, ratio and verdict out of its rounds. */
export function judge(bench: Pick<Bench, 'name' | 'unit' | 'target'>, rounds: Rounds, versions: Record<string, string>): Figure {
  const peers = Object.fromEntries(Object.entries(rounds.peers).map(([name, values]) => [name, median(values)]))
  const ours = median(rounds.ours)
  const ratio = ours / (Object.values(peers)[0] ?? Number.NaN)
  const { name, unit, target } = bench
  return { name, unit, ours, peers, limit: median(rounds.limit), ratio, ...verdict(target, unit, ours, ratio), rounds, versions }
}

function verdict(target: Target, unit: string, ours: number, ratio: number): { target: string; ok: boolean } {
  if ('atLeast' in target) return { target: `>= ${target.atLeast}x`, ok: ratio >= target.atLeast }
  if (target.of === 'peer') return { target: `<= ${target.atMost}x`, ok: ratio <= target.atMost }
  return { target: `<= ${target.atMost} ${unit}`, ok: ours <= target.atMost }
}

/** The middle value; of an even number of values, the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const pair = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1)
  return pair.reduce((sum, value) => sum + value, 0) / pair.length
}

/** The figures as a table for people. */
export function table(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name,
    figure.unit,
    round(figure.ours),
    Object.entries(figure.peers)
      .map(([name, value]) => `${name} ${round(value)}`)
      .join(', '),
    round(figure.limit),
    `${figure.ratio.toFixed(2)}x`,
    figure.target,
    figure.ok ? 'ok' : 'MISSED',
  ])
  const lines = [['line', 'unit', 'ours', 'peer', 'limit', 'ratio', 'target', ''], ...rows]
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
