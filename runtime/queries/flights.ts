/** Work that several callers want at once is done once. */
export type Flights<T> = {
  /** Joins the work under way for `key`, or begins it. What fails, fails for all who wait, and the next caller begins anew. */
  share: (key: string, work: () => Promise<T>) => Promise<T>
}

/** Single-flight over any number of keys; a key costs nothing once its work is done. */
export function createFlights<T>(): Flights<T> {
  const underWay = new Map<string, Promise<T>>()
  return {
    share: (key, work) => {
      const running = underWay.get(key)
      if (running !== undefined) return running
      const promise = work().finally(() => underWay.delete(key))
      underWay.set(key, promise)
      return promise
    },
  }
}
