/**
 * One SQL statement of a feature. `text` is given the tenant's schema, escaped and with its dot, to stand before every table name;
 * it must depend on nothing else, since each connection keeps it prepared under `name`. Values are always parameters.
 */
export type Statement = {
  name: string
  text: (schema: string) => string
  values: readonly unknown[]
}

/** A row as the driver gives it. */
export type Row = Record<string, unknown>
