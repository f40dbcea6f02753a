import type { AnyObject } from './object.ts'

/** The value under which an object is found besides its name; undefined: under none. Goes by the object alone. */
export type IndexBy<O> = (object: O) => string | undefined

/** Objects by name, and by the value that an index gives each, as client-go's Indexer keeps them: nobody looks through all to find a few. */
export class Indexed<O extends AnyObject> {
  readonly #indexBy: IndexBy<O>
  readonly #objects = new Map<string, O>()
  readonly #groups = new Map<string, Map<string, O>>()

  constructor(indexBy: IndexBy<O> = () => undefined) {
    this.#indexBy = indexBy
  }

  get(name: string): O | undefined {
    return this.#objects.get(name)
  }

  list(): O[] {
    return [...this.#objects.values()]
  }

  /** By name, those that the index has under this value; what is put or removed later shows in it as long as one is left. */
  under(value: string): ReadonlyMap<string, O> {
    return this.#groups.get(value) ?? new Map()
  }

  put(object: O): void {
    const { name } = object.metadata
    this.#ungroup(name)
    this.#objects.set(name, object)
    const value = this.#indexBy(object)
    if (value === undefined) return
    const group = this.#groups.get(value) ?? new Map<string, O>()
    this.#groups.set(value, group.set(name, object))
  }

  remove(name: string): void {
    this.#ungroup(name)
    this.#objects.delete(name)
  }

  #ungroup(name: string): void {
    const object = this.#objects.get(name)
    const value = object && this.#indexBy(object)
    const group = value === undefined ? undefined : this.#groups.get(value)
    if (value === undefined || group === undefined) return
    group.delete(name)
    if (group.size === 0) this.#groups.delete(value)
  }
}
