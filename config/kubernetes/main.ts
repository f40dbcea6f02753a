import { Command } from 'commander'
import { createProgress, StepError } from '../local/progress.ts'
import { buildImages } from './images.ts'
import { install } from './install.ts'
import { createKind, deleteKind, KIND_LOAD } from './kind.ts'
import { currentCluster } from './target.ts'

const interrupted = new AbortController()
const { signal } = interrupted
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => interrupted.abort(new Error(`interrupted by ${name}`)))
}
const progress = createProgress(write, signal)

const program = new Command('kubernetes').description('Images of the programs, and the platform on a cluster.')
program
  .command('images')
  .description('bundle the programs and build their images; BASE_IMAGE: what they stand on')
  .action(() => attempt(() => buildImages(write, signal)))
program
  .command('up')
  .description('install on the cluster of the current kubeconfig; IMAGE_LOAD: the shell command that brings $IMAGE to its nodes')
  .action(() => attempt(() => up(process.env.IMAGE_LOAD ?? '')))
program
  .command('kind-up')
  .description('make a kind cluster and install on it')
  .action(() => attempt(kindUp))
program
  .command('kind-down')
  .description('remove the kind cluster with everything in it')
  .action(() =>
    attempt(() =>
      progress.step(
        'kind cluster',
        () => deleteKind(signal),
        () => 'removed',
      ),
    ),
  )
await program.parseAsync()

async function kindUp(): Promise<void> {
  await progress.step(
    'kind cluster',
    () => createKind(signal),
    (outcome) => outcome,
  )
  await up(KIND_LOAD)
  write('  Service tenantry-node-port is http://localhost:8080 on this machine; make kind-down removes the cluster.')
}

async function up(load: string): Promise<void> {
  if (load === '')
    throw new Error('set IMAGE_LOAD to the command that brings the image $IMAGE to the nodes, such as \'docker push "$IMAGE"\'')
  const begin = performance.now()
  const target = await currentCluster(signal)
  write(`The platform on ${target.server}:`)
  await install(target, load, progress, signal)
  write(`\nThe platform runs (${((performance.now() - begin) / 1000).toFixed(1)} s). Try:\n\n${whatToTry(target.kubeconfig)}`)
}

async function attempt(work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    process.exitCode = 1
    process.stderr.write(`\n${error instanceof StepError ? error.report() : error instanceof Error ? error.message : String(error)}\n`)
  }
}

function write(line: string): void {
  process.stdout.write(`${line}\n`)
}

function whatToTry(kubeconfig: string): string {
  return `  export KUBECONFIG=${kubeconfig}
  kubectl get shards,tenants,pods
  kubectl port-forward service/tenantry-runtime 8081:80 &
  curl -s -H "X-API-Key: $(kubectl get secret acme-apikey-main -o go-template='{{.data.token | base64decode}}')" -H 'Content-Type: application/json' -d '{"title": "Read the README"}' http://localhost:8081/v1/tasks
`
}
