import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { WORKLOADS, wakeRuntime } from '../../config/kubernetes/install.ts'

type Kubectl = (args: readonly string[]) => Promise<string>

/** What `make up` and `make down` are on a cluster: everything as it was installed, and no pod with all data kept. */
export type Verbs = { up: () => Promise<void>; down: () => Promise<void>; kill: (part: string) => Promise<void> }

const SCALED = ['postgres', 'redis', 'nats', 'tenantry-operator', 'tenantry-runtime']

/** The verbs with this kubectl; `folder` is where the names of the two replicas stand. */
export function verbsOf(kubectl: Kubectl, folder: string): Verbs {
  const remove = (...pods: string[]) => kubectl(['delete', 'pod', ...pods, '--grace-period=0', '--force'])
  const scale = (replicas: number, ...workloads: readonly string[]) => kubectl(['scale', `--replicas=${replicas}`, ...workloads])
  const podsOf = (name: string) => `--selector=app.kubernetes.io/name=${name}`
  return {
    up: async () => {
      await kubectl(['apply', '--server-side', '--field-manager=tenantry-install', '--force-conflicts', '-k', 'build/cluster', OWN])
      await wakeRuntime(kubectl)
      for (const workload of WORKLOADS) await kubectl(['rollout', 'status', workload, '--timeout=300s'])
    },
    down: async () => {
      await scale(0, ...WORKLOADS)
      for (const name of SCALED) await kubectl(['wait', '--for=delete', 'pod', podsOf(name), '--timeout=120s'])
    },
    kill: async (part) => {
      if (part === 'redis' || part === 'nats') await remove(podsOf(part))
      // Its server may still have the data open when a pod that was deleted by force comes back: it is the server that ends, as in a crash.
      else if (part.startsWith('shard-'))
        await kubectl(['exec', `postgres-${part === 'shard-a' ? 0 : 1}`, '--', 'bash', '-c', 'kill -QUIT 1'])
      else if (part.startsWith('runtime-')) await remove(await readFile(join(folder, part), 'utf8'))
      else {
        // A killed pod would be back at once, and the tests are about the time without one.
        await scale(0, 'deployment/tenantry-operator')
        await remove(podsOf('tenantry-operator'))
      }
    },
  }
}

const OWN = '--selector=app.kubernetes.io/name!=metrics-server'
