import { writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { stringify } from 'yaml'
import { apply, createMissing, type Kubectl, waitUntilReady } from '../local/kubectl.ts'
import { shardManifests } from '../local/manifests.ts'
import type { Progress } from '../local/progress.ts'
import { run } from '../local/run.ts'
import { buildImages, type Image } from './images.ts'
import { hostOf, openLogins } from './logins.ts'
import { FOLDER, REPOSITORY, type Target } from './target.ts'

const ROLLOUT_SECONDS = 300
const READY_SECONDS = 120

const BASE = join(REPOSITORY, 'config', 'kubernetes', 'base')
const OVERLAY = join(REPOSITORY, 'config', 'kubernetes', 'overlays', 'kind')
const SAMPLES = join(REPOSITORY, 'config', 'samples')

/** The workloads of the overlay, in the order in which they can become ready. */
export const WORKLOADS = [
  'statefulset/postgres',
  'deployment/redis',
  'deployment/nats',
  'deployment/tenantry-operator',
  'deployment/tenantry-runtime',
] as const

/**
 * Brings the platform of overlays/kind onto a cluster, or what is missing of it, with the sample Shards and Tenants. `load` is a shell command that brings the
 * image $IMAGE to the cluster's nodes. Throws StepError.
 */
export async function install({ kubectl }: Target, load: string, progress: Progress, signal: AbortSignal): Promise<void> {
  const images = await progress.step('images', () => buildImages(progress.note, signal))
  await progress.step('images on the nodes', () => loadImages(images, load, signal))
  await progress.step('namespace and rights', () => apply(kubectl, { files: [join(BASE, 'rbac.yaml')] }))
  const logins = await progress.step('logins', () => openLogins(kubectl))
  await progress.step('manifests', () => applyOverlay(kubectl, images))
  const server = (number: number) => ({ ...logins, host: hostOf(number), port: 5432 })
  await progress.step('shards', async () => {
    await kubectl(['wait', '--for=condition=Established', '--timeout=30s', 'crd/shards.tenantry.dev', 'crd/tenants.tenantry.dev'])
    await apply(kubectl, { text: await shardManifests(REPOSITORY, { 'shard-a': server(0), 'shard-b': server(1) }) })
  })
  await wakeRuntime(kubectl)
  for (const workload of WORKLOADS) await progress.step(workload, () => rollOut(kubectl, workload))
  const tenants = join(SAMPLES, 'tenants.yaml')
  await progress.step('tenants', () => createMissing(kubectl, tenants))
  const all = ['-f', join(SAMPLES, 'shards.yaml'), '-f', tenants]
  await progress.step('all Ready', () => waitUntilReady(kubectl, all, READY_SECONDS))
}

/** Gives the runtime replicas when it was left with none: how many there are is the autoscaler's to say, which lets alone what has none. */
export async function wakeRuntime(kubectl: Kubectl): Promise<void> {
  const runtime = 'deployment/tenantry-runtime'
  if ((await kubectl(['get', runtime, '--output=jsonpath={.spec.replicas}'])) === '0') await kubectl(['scale', '--replicas=2', runtime])
}

/** Waits until all pods of a workload are of its present edition and ready. */
async function rollOut(kubectl: Kubectl, workload: string): Promise<void> {
  await kubectl(['rollout', 'status', workload, `--timeout=${ROLLOUT_SECONDS}s`])
}

async function loadImages(images: readonly Image[], load: string, signal: AbortSignal): Promise<void> {
  for (const { name, tag } of images) await run('sh', ['-ec', load], { env: { IMAGE: `${name}:${tag}` }, signal })
}

/** The overlay with the images that were built, by tags that no other sources have. */
async function applyOverlay(kubectl: Kubectl, images: readonly Image[]): Promise<void> {
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [relative(FOLDER, OVERLAY)],
    images: images.map(({ name, tag }) => ({ name, newTag: tag })),
  }
  await writeFile(join(FOLDER, 'kustomization.yaml'), stringify(kustomization))
  const own = (await servesMetrics(kubectl)) ? ['--selector=app.kubernetes.io/name!=metrics-server'] : []
  await kubectl(['apply', '--server-side', '--field-manager=tenantry-install', '--force-conflicts', '-k', FOLDER, ...own])
}

/** Whether the cluster has a metrics-server that is not of our making. */
async function servesMetrics(kubectl: Kubectl): Promise<boolean> {
  const found = await kubectl(['get', 'apiservice', 'v1beta1.metrics.k8s.io', '--ignore-not-found', '--output=json'])
  return found !== '' && JSON.parse(found).metadata.labels?.['app.kubernetes.io/part-of'] !== 'tenantry'
}
