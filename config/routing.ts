import { parse as parseYaml } from 'yaml'
import { z } from 'zod'

/**
 * The format of a routing document. A reader refuses a higher number than it knows, so that an old runtime never half understands a new operator.
 * It rises when something is added that a reader must not pass over, such as a new limit to what a key may do. What may be passed over, because
 * a tenant is served rightly without it, is added as a field that may be missing: readers leave out the fields of routes, Shards and limits
 * that they do not know. What says who may speak for a tenant has no such fields: there anything unknown is refused.
 */
export const ROUTING_VERSION = 1

/** Marks the ConfigMaps that carry routing documents; the value is `bucket` or `shards`. */
export const ROUTING_LABEL = 'tenantry.dev/routing'

/** The key of the document inside its ConfigMap, and the file name's ending in a folder. */
export const ROUTING_KEY = 'routing.yaml'

/**
 * Tenants are spread over this many documents. Their names are fixed, so that a Role can name each of them; at 600 bytes a
 * tenant, 16 ConfigMaps of 1 MiB hold 25,000 tenants.
 */
export const ROUTING_BUCKETS = 16

/** The ConfigMap that tells where the Shards are. */
export const SHARDS_DOCUMENT = 'tenantry-routing-shards'

/** The Secret that holds logins as JSON (`Credentials`): the runtime's under the name of each Shard, and those of tenants with a database under their role. */
export const CREDENTIALS_SECRET = 'tenantry-runtime-credentials'

/** What a caller may be allowed to do. */
export const SCOPES = ['tasks:read', 'tasks:write', 'users:read', 'users:write', 'events:read', 'tenant:admin'] as const

/** A word out of `SCOPES`. */
export type Scope = (typeof SCOPES)[number]

/** What a key may do that says nothing about it: all but `tenant:admin`. */
export const DEFAULT_SCOPES: readonly Scope[] = SCOPES.filter((scope) => scope !== 'tenant:admin')

const physicalName = z.string().min(1).max(63)
const uid = z.uuid()

const limitsSchema = z.object({
  /** A statement is ended after so long, a wait for a lock too, and a transaction in which nothing goes on. */
  statementMs: z.int().positive(),
  lockMs: z.int().positive(),
  idleInTransactionMs: z.int().positive(),
  /** How many requests it may send a second and, after a rest, at once (left out: twice that), and have under way at once; left out: any number. */
  requestsPerSecond: z.int().positive().optional(),
  burst: z.int().positive().optional(),
  concurrency: z.int().positive().optional(),
  /** How many of each the tenant may have; left out: any number. */
  tasks: z.int().nonnegative().optional(),
  users: z.int().nonnegative().optional(),
  /** How many MiB these may take together; left out: any number. */
  storageMiB: z.int().positive().optional(),
})

/** Settings as their owner wrote them. What the runtime knows is what it should be; a value that is not is left out, and breaks nothing else. */
const settingsSchema = z.looseObject({
  /** Of which origins pages in browsers may read the tenant's answers. */
  allowedOrigins: z
    .array(z.string().regex(/^https?:\/\/[a-z0-9.-]+(:[0-9]{1,5})?$/))
    .max(32)
    .optional()
    .catch(undefined),
})

/** So many characters of a token are no secret: `tnt_` and eight more. The others hold 208 random bits. */
export const KEY_PREFIX_LENGTH = 12

const keySchema = z.strictObject({
  name: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Left out: `DEFAULT_SCOPES`. */
  scopes: z.array(z.enum(SCOPES)).optional(),
  /** The first characters of the token, by which it is found; left out, or of an older token: by its hash. */
  prefix: z.string().length(KEY_PREFIX_LENGTH).optional(),
  /** From this time on the key is refused, by each replica's own clock. */
  expiresAt: z.iso.datetime().optional(),
})

/** What tokens may be signed with: with a private key only, so that nobody who can verify one can make one. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const

const publicKeySchema = z.strictObject({
  kty: z.enum(['RSA', 'EC', 'OKP']),
  kid: z.string().exactOptional(),
  alg: z.enum(ALGORITHMS).exactOptional(),
  use: z.literal('sig').exactOptional(),
  crv: z.enum(['P-256', 'P-384', 'P-521', 'Ed25519']).exactOptional(),
  n: z.string().exactOptional(),
  e: z.string().exactOptional(),
  x: z.string().exactOptional(),
  y: z.string().exactOptional(),
})

/** Who signs the tenant's bearer tokens; the keys stand here, or at an https address. */
const issuerSchema = z.strictObject({
  issuer: z.string().min(1),
  audiences: z.array(z.string()).min(1),
  algorithms: z.array(z.enum(ALGORITHMS)).min(1),
  jwksUri: z.string().startsWith('https://').optional(),
  jwks: z.strictObject({ keys: z.array(publicKeySchema).min(1) }).optional(),
})

const routeSchema = z.object({
  id: z.string().min(1).max(40),
  uid,
  /** For people. */
  displayName: z.string().optional(),
  plan: z.string().optional(),
  shard: z.string().min(1),
  isolation: z.enum(['row', 'schema', 'database']),
  database: physicalName,
  schema: physicalName,
  role: physicalName,
  epoch: z.int().positive(),
  schemaVersion: z.int().nonnegative(),
  /** `suspended`: every request is refused. */
  state: z.enum(['active', 'suspended']),
  /** From this time on the tenant is suspended, whatever `state` says: exact on every replica, also while the operator is away. */
  subscriptionEndsAt: z.iso.datetime().optional(),
  hosts: z.array(z.string().max(253)),
  /** What the tenant may take; left out, or times that are longer than the runtime's own: those hold. */
  limits: limitsSchema.optional(),
  settings: settingsSchema.optional(),
  /** SHA-256 of each API key's token, in hex; a token has 256 random bits, so that a slow hash would add nothing. */
  keys: z.array(keySchema),
  /** Left out: the tenant takes no bearer tokens. */
  jwt: issuerSchema.optional(),
})

/** The fewest connections that a replica of the runtime can work with: for reads and commands, for relay and projections, for tenants' own databases. */
export const LEAST_CONNECTIONS = 3

const shardSchema = z.object({
  host: z.string().min(1),
  port: z.int().min(1).max(65535),
  database: physicalName,
  tls: z.enum(['disable', 'require', 'verify-full']),
  /** The most connections that one replica may have to this Shard, to all its databases together; left out: as many as its settings say. */
  connections: z.int().min(LEAST_CONNECTIONS).optional(),
  /** Replicas that serve are giving back what they have above `connections`: one that has no connections there yet opens none until this is gone. */
  settling: z.literal(true).optional(),
})

const documentSchema = z.object({
  version: z.literal(ROUTING_VERSION),
  shards: z.record(z.string(), shardSchema).default({}),
  tenants: z.array(routeSchema).default([]),
})

const credentialsSchema = z.strictObject({
  username: z.string().min(1),
  password: z.string().min(1),
  ca: z.string().optional(),
  /** When the login was made, RFC 3339 in UTC; the operator replaces it at an age. */
  issuedAt: z.iso.datetime().optional(),
})

/** Where one tenant lives and who may speak for it. Every physical name stands here: the runtime derives none. */
export type Route = z.infer<typeof routeSchema>

/** Who signs a tenant's bearer tokens. */
export type Issuer = NonNullable<Route['jwt']>

/** How long a tenant's work may keep the database, in milliseconds, how many requests it may send, and how much it may have. */
export type Limits = z.infer<typeof limitsSchema>

/** What a tenant may have only so many of, by the name of the limit and of the table. */
export const QUOTAS = ['tasks', 'users'] as const

/** One of them. */
export type Quota = (typeof QUOTAS)[number]

/** How to reach one Shard. */
export type ShardEndpoint = z.infer<typeof shardSchema>

/** One file or ConfigMap of routing config. */
export type RoutingDocument = z.infer<typeof documentSchema>

/** A login on a Shard and, where the server's certificate is checked, the CA in PEM. */
export type Credentials = z.infer<typeof credentialsSchema>

/** What a reader gets: the value, or every fault with the place it stands at; `newer`: whoever wrote it is newer than this program. */
export type Parsed<T> = { ok: true; value: T } | { ok: false; faults: string[]; newer?: boolean }

/** Reads one routing document from YAML. Never throws: a text that does not parse gives its faults. */
export function parseRouting(text: string): Parsed<RoutingDocument> {
  return read(text, documentSchema)
}

/** Reads one Shard's credentials, written as JSON. The faults name fields only, never values. */
export function parseCredentials(text: string): Parsed<Credentials> {
  return read(text, credentialsSchema)
}

/**
 * Writes a routing document: the same value always gives the same text, so that an unchanged bucket is not written again. It is YAML in
 * flow style, a tenant on each line, which is JSON too: a document of 100 tenants is read and written in a fiftieth of the time.
 */
export function formatRouting({ version, shards, tenants }: RoutingDocument): string {
  const lines = tenants.map((tenant) => JSON.stringify(tenant))
  return `{"version":${version},"shards":${JSON.stringify(shards)},"tenants":[\n${lines.join(',\n')}\n]}\n`
}

/** The name of the document that holds bucket `index`, in 0 .. ROUTING_BUCKETS - 1. */
export function bucketDocument(index: number): string {
  return `tenantry-routing-${String(index).padStart(2, '0')}`
}

function read<T>(text: string, schema: z.ZodType<T>): Parsed<T> {
  const raw = parseJson(text) ?? parseYamlOnly(text)
  if (raw === undefined) return { ok: false, faults: ['(document): is not valid YAML'] }
  const result = schema.safeParse(raw)
  if (result.success) return { ok: true, value: result.data }
  const version = versionOf(raw)
  if (version > ROUTING_VERSION)
    return { ok: false, newer: true, faults: [`version: is ${version}, and this program reads ${ROUTING_VERSION}`] }
  return { ok: false, faults: result.error.issues.map((issue) => `${issue.path.join('.') || '(document)'}: ${issue.message}`) }
}

function versionOf(raw: unknown): number {
  return typeof raw === 'object' && raw !== null && 'version' in raw ? Number(raw.version) : Number.NaN
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function parseYamlOnly(text: string): unknown {
  try {
    return parseYaml(text)
  } catch {
    return undefined
  }
}
