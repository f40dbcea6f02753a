import { LRUCache } from 'lru-cache'

/** A statement as the server keeps it: its name there, '' for one that it does not keep, and what its rows are made of, once the server has said so. */
export type Prepared = { name: string; columns: readonly Column[] | undefined }

/** A column of an answer, and how its text is read. */
export type Column = { name: string; read: (text: string) => unknown }

/**
 * The statements that one connection keeps prepared, least recently used out first; at most 0: none, each is parsed when it is sent. Names on the server are never used
 * twice, so that a statement whose fate is unknown, since its bundle failed, is closed and prepared again under a new one.
 */
export class PreparedStatements {
  readonly #kept: LRUCache<string, Prepared> | undefined
  #closing: string[] = []
  #count = 0

  constructor(max: number) {
    this.#kept = max === 0 ? undefined : new LRUCache({ max, dispose: ({ name }) => this.#closing.push(name) })
  }

  /** The statement under `key`, if it was prepared. */
  find(key: string): Prepared | undefined {
    return this.#kept?.get(key)
  }

  /** A statement about to be prepared, under a name of its own. */
  add(key: string): Prepared {
    if (this.#kept === undefined) return { name: '', columns: undefined }
    this.#count += 1
    const prepared = { name: `s${this.#count}`, columns: undefined }
    this.#kept.set(key, prepared)
    return prepared
  }

  /** The statement may be unknown to the server: it will be closed and, when next needed, prepared anew. */
  forget(key: string): void {
    this.#kept?.delete(key)
  }

  /** Names to close on the server now; if that fails, hand them back to `closeLater`. */
  takeClosing(): string[] {
    const names = this.#closing
    this.#closing = []
    return names
  }

  closeLater(names: readonly string[]): void {
    this.#closing.push(...names)
  }
}
