import { LRUCache } from 'lru-cache'

/**
 * The statements that one connection keeps prepared, least recently used out first; at most 0: none, each is parsed when it is sent. Names on the server are never used
 * twice, so that a statement whose fate is unknown, since its bundle failed, is closed and prepared again under a new one.
 */
export class PreparedStatements {
  readonly #names: LRUCache<string, string> | undefined
  #closing: string[] = []
  #count = 0

  constructor(max: number) {
    this.#names = max === 0 ? undefined : new LRUCache({ max, dispose: (name) => this.#closing.push(name) })
  }

  /** The server's name of the statement under `key`, if it was prepared. */
  find(key: string): string | undefined {
    return this.#names?.get(key)
  }

  /** A name for a statement about to be prepared. */
  add(key: string): string {
    if (this.#names === undefined) return ''
    this.#count += 1
    const name = `s${this.#count}`
    this.#names.set(key, name)
    return name
  }

  /** The statement may be unknown to the server: it will be closed and, when next needed, prepared anew. */
  forget(key: string): void {
    this.#names?.delete(key)
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
