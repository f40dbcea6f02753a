type Write = (fields: Record<string, unknown>, message: string) => void

/** What the mechanisms need of a logger; a pino logger is one. Nobody passes it a credential. */
export type Logger = { debug: Write; info: Write; warn: Write; error: Write }
