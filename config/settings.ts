import { readFileSync } from 'node:fs'
import type { z } from 'zod'

/** Where a pod finds its own account. */
export const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** Settings that cannot be used, with every fault, so that one start shows all of them. */
export class SettingsError extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(`the settings cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
    this.name = 'SettingsError'
    this.faults = faults
  }
}

/** A line for each environment variable: name, meaning, default. */
export function describe({ shape }: z.ZodObject): string {
  return Object.entries(shape)
    .map(([name, field]) => `  ${name.padEnd(34)}${(field as z.ZodType).description ?? ''}${defaultOf(field as z.ZodType)}`)
    .join('\n')
}

function defaultOf(field: z.ZodType): string {
  const parsed = field.safeParse(undefined)
  return parsed.success && parsed.data !== undefined ? ` (${String(parsed.data)})` : ''
}

/** What an environment sets, and all that is wrong with it; a misspelt name is a fault, as it would silently leave its default in force. */
export function parseEnvironment<S extends z.ZodObject>(
  schema: S,
  program: string,
  environment: NodeJS.ProcessEnv,
): { values: z.infer<S> | undefined; faults: string[] } {
  const { data: values, error } = schema.safeParse(environment)
  const wrong = error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? []
  const unknown = Object.keys(environment)
    .filter((name) => name.startsWith('TENANTRY_') && !(name in schema.shape) && !PLATFORM_NAMES.test(name))
    .map((name) => `${name}: is not a setting of the ${program}`)
  return { values, faults: [...wrong, ...unknown] }
}

// What the local platform exports for people stands in the same environment when a program is started by hand.
const PLATFORM_NAMES = /^TENANTRY_(URL|URL_B|METRICS_URL|OPERATOR_URL|GRPC_ADDRESS|FOLDER)$/

/** The namespace of the pod that this process runs in; undefined where it runs in none. */
export function inClusterNamespace(): string | undefined {
  try {
    return readFileSync(`${SERVICE_ACCOUNT}/namespace`, 'utf8').trim()
  } catch {
    return undefined
  }
}
