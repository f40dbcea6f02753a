import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { removeWithMe } from '../config/local/guard.ts'
import { startControlPlane } from '../config/local/servers/control-plane.ts'
import { startNats } from '../config/local/servers/nats.ts'
import { removePostgres, startPostgres } from '../config/local/servers/postgres.ts'
import { startRedis } from '../config/local/servers/redis.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Offers TLS and accepts plain connections too. */
    postgres: { host: string; port: number; ca: string; adminUser: string; adminPassword: string; adminUrl: string; superuserUrl: string }
    redis: { url: string }
    nats: { url: string }
    /** `kubeconfig` and `caFile` are paths, `ca` is PEM; the CRDs are not there yet. */
    kubernetes: { server: string; kubeconfig: string; ca: string; caFile: string; kubectl: string; garbageCollection: boolean }
  }
}

/** Starts one of each server for all integration tests, on ports and in a folder of their own, and hands out their addresses. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-test-'))
  removeWithMe(folder)
  const at = (name: string) => ({ folder: join(folder, name), durable: false, report: (line: string) => project.vitest.logger.log(line) })
  const starts = [
    startPostgres({ ...at('postgres'), requireTls: false }),
    startRedis(at('redis')),
    startNats(at('nats')),
    startControlPlane(at('kubernetes')),
  ] as const
  const stopAll = async () => {
    for (const server of (await Promise.allSettled(starts)).reverse()) if (server.status === 'fulfilled') await server.value.stop()
    await removePostgres(join(folder, 'postgres'))
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const [postgres, redis, nats, kubernetes] = await Promise.all(starts)
    const { host, port, ca, adminUser, adminPassword, adminUrl, superuserUrl } = postgres
    project.provide('postgres', { host, port, ca, adminUser, adminPassword, adminUrl, superuserUrl })
    project.provide('redis', { url: redis.url })
    project.provide('nats', { url: nats.url })
    const { server, kubeconfig, caFile, kubectl, controllerManager } = kubernetes
    project.provide('kubernetes', {
      server,
      kubeconfig,
      ca: kubernetes.ca,
      caFile,
      kubectl,
      garbageCollection: controllerManager !== undefined,
    })
    return stopAll
  } catch (error) {
    await stopAll()
    throw error
  }
}
