/** Who is told what stands in the routing config. */
export type RoutingSink = {
  /** A document's text; undefined: it is not there (any more). */
  document: (name: string, text: string | undefined) => void
  /** The text of each Shard's credentials; undefined: there are none to be read. */
  credentials: (texts: ReadonlyMap<string, string> | undefined) => void
  /** What was told is what stands there now. */
  current: () => void
}

/** Where routing config comes from: the cluster or a folder. */
export type RoutingSource = {
  /** Begins to tell `sink` everything, then every change, and never stops by itself. */
  start: (sink: RoutingSink) => void
  /** Reads everything afresh: resolves when the sink knows what stood there when this was called, or later. Throws when it cannot be read. */
  read: (signal: AbortSignal) => Promise<void>
  close: () => Promise<void>
}
