import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { cacheFolder } from '../../config/local/build.ts'
import { run } from '../../config/local/run.ts'

type Tool = { package: string; version: string; variables?: Readonly<Record<string, string>> }

const HELM_3 = 'helm.sh/helm/v3'
const HELM_4 = 'helm.sh/helm/v4'

/** Programs that Go installs, each in one version. */
const TOOLS = {
  'kube-score': { package: 'github.com/zegl/kube-score/cmd/kube-score', version: 'v1.20.0' },
  kubeconform: { package: 'github.com/yannh/kubeconform/cmd/kubeconform', version: 'v0.8.0' },
  // What Helm's own build says of itself: without it Helm 3 takes every cluster that it does not ask for Kubernetes 1.20.
  helm3: {
    package: `${HELM_3}/cmd/helm`,
    version: 'v3.22.0',
    variables: { [`${HELM_3}/internal/version.version`]: 'v3.22.0', [`${HELM_3}/pkg/chartutil.k8sVersionMinor`]: '37' },
  },
  helm4: { package: `${HELM_4}/cmd/helm`, version: 'v4.3.1', variables: { [`${HELM_4}/internal/version.version`]: 'v4.3.1' } },
} as const satisfies Record<string, Tool>

/** A program that Go can install. */
export type ToolName = keyof typeof TOOLS

/** Where the program stands once it is installed: in the cache folder, another file for each version. */
function fileOf(name: ToolName): string {
  return join(cacheFolder(), 'tools', `${name}-${TOOLS[name].version}`)
}

/** Installs the program if it is not there yet, which may take minutes, and resolves with its file. Rejects with ENOENT where there is no Go. */
export async function installTool(name: ToolName, report: (line: string) => void): Promise<string> {
  const file = fileOf(name)
  if (await isThere(file)) return file
  const tool: Tool = TOOLS[name]
  report(`installing ${tool.package}@${tool.version} with Go into ${file}: this takes a while, once`)
  const folder = join(cacheFolder(), 'tools')
  await mkdir(folder, { recursive: true })
  const temporary = await mkdtemp(join(folder, 'installing-'))
  try {
    const flags = ['-s -w', ...Object.entries(tool.variables ?? {}).map(([variable, value]) => `-X ${variable}=${value}`)]
    await run('go', ['install', '-trimpath', `-ldflags=${flags.join(' ')}`, `${tool.package}@${tool.version}`], {
      // As it is published, whatever the user's own settings say.
      env: { GOBIN: temporary, CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off' },
    })
    await rename(join(temporary, basename(tool.package)), file)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  return file
}

/** The Helms that are there, by version: those of PATH, and those that `make manifests` has installed. */
export async function findHelms(): Promise<Map<string, string>> {
  const helms = new Map<string, string>()
  for (const program of ['helm', 'helm3', 'helm4', fileOf('helm3'), fileOf('helm4')]) {
    const version = await run(program, ['version', '--short']).catch(() => undefined)
    if (version !== undefined && !helms.has(version.stdout.trim())) helms.set(version.stdout.trim(), program)
  }
  return helms
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}
