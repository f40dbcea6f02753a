/** What a parameter may be. Lists and objects are passed as JSON text and taken apart in SQL. */
export type Value = string | number | boolean | null

/**
 * One SQL statement of a feature. `text` is given the tenant's schema, escaped and with its dot, to stand before every table name;
 * it must depend on nothing else, since each connection keeps it prepared under `name`. Values are always parameters.
 */
export type Statement = {
  name: string
  text: (schema: string) => string
  values: readonly Value[]
}

/** A row as the driver gives it; a `bigint` is a number. */
export type Row = Record<string, unknown>
