import { join } from 'node:path'
import type { Layout } from './layout.ts'
import { CommandError, run } from './run.ts'

/** kubectl with the platform's kubeconfig. Throws CommandError. */
export type Kubectl = (args: readonly string[], input?: string) => Promise<string>

/** A kubectl for the platform in `layout`; it keeps its cache in there too. */
export function kubectlFor(layout: Pick<Layout, 'kubectl' | 'kubeconfig' | 'folder'>, signal: AbortSignal): Kubectl {
  const env = { KUBECONFIG: layout.kubeconfig, KUBECACHEDIR: join(layout.folder, 'cache') }
  return async (args, input) => (await run(layout.kubectl, args, { env, signal, ...(input === undefined ? {} : { input }) })).stdout
}

/** Applies manifests, as text or from files; fields that another has changed are ours again. */
export async function apply(kubectl: Kubectl, manifests: { text: string } | { files: readonly string[] }): Promise<void> {
  const from = 'text' in manifests ? ['-f', '-'] : manifests.files.flatMap((file) => ['-f', file])
  await kubectl(
    ['apply', '--server-side', '--field-manager=make-up', '--force-conflicts', ...from],
    'text' in manifests ? manifests.text : undefined,
  )
}

/** Creates what is not there yet, and leaves what is there as its owner has made it. */
export async function createMissing(kubectl: Kubectl, file: string): Promise<void> {
  try {
    await kubectl(['create', '-f', file])
  } catch (error) {
    if (!(error instanceof CommandError) || error.faults.some((line) => !line.includes('(AlreadyExists)'))) throw error
  }
}

type Conditions = {
  items: {
    kind: string
    metadata: { name: string }
    status?: { conditions?: { type: string; status: string; reason: string; message: string }[] }
  }[]
}

/** Waits until all are Ready, up to `seconds`. Throws with the reason of each one that is not. */
export async function waitUntilReady(kubectl: Kubectl, resources: readonly string[], seconds: number): Promise<void> {
  try {
    await kubectl(['wait', '--for=condition=Ready', `--timeout=${seconds}s`, ...resources])
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    const { items }: Conditions = JSON.parse(await kubectl(['get', '-o', 'json', ...resources]))
    const unready = items.map((item) => ({ item, ready: item.status?.conditions?.find(({ type }) => type === 'Ready') }))
    const reasons = unready
      .filter(({ ready }) => ready?.status !== 'True')
      .map(
        ({ item, ready }) =>
          `${item.kind} ${item.metadata.name}: ${ready === undefined ? 'nobody has looked at it' : `${ready.reason}: ${ready.message}`}`,
      )
    throw new Error(`not Ready after ${seconds} s: ${reasons.join('; ')}`)
  }
}
