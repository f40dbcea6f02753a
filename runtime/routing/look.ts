/** The shortest and the longest time between two looks, in milliseconds. */
const SPACING = { least: 100, most: 1_000 }

/** What a look needs of the world. */
export type LookOptions = {
  /** One fresh reading of everything; tells whether it found something new. */
  read: () => Promise<boolean>
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
  sleep: (milliseconds: number) => Promise<void>
}

/**
 * Fresh readings, few and shared: whoever asks gets one that began after it asked, together with all who ask meanwhile.
 * Readings keep a distance that doubles while they find nothing new, so that a flood of wrong keys costs one reading a second.
 * The promise fails as the reading fails.
 */
export function createLook(options: LookOptions): () => Promise<void> {
  let spacing = SPACING.least
  let lastStart = Number.NEGATIVE_INFINITY
  let waiting: Promise<void> | undefined
  let running: Promise<unknown> = Promise.resolve()

  const run = async (): Promise<void> => {
    await running
    const wait = lastStart + spacing - options.now()
    if (wait > 0) await options.sleep(wait)
    waiting = undefined
    lastStart = options.now()
    const reading = options.read()
    running = reading.catch(() => undefined)
    try {
      spacing = (await reading) ? SPACING.least : Math.min(spacing * 2, SPACING.most)
    } catch (error) {
      spacing = SPACING.most
      throw error
    }
  }
  return () => {
    waiting ??= run()
    return waiting
  }
}
