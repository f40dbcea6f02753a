import { setTimeout as sleep } from 'node:timers/promises'
import type { Part } from '../../config/local/layout.ts'
import { connect } from '../../operator/kubernetes/client.ts'
import type { Bench, Rounds } from './figures.ts'
import { residentMiB, SETTLE_MS } from './memory.ts'
import { startPlatform } from './platform.ts'
import { createTenant, IN_FLIGHT, inParallel } from './tenants.ts'

const TENANTS = Number(process.env.BENCH_SIZING_TENANTS ?? 200)

/** How much more memory the runtime holds for 1,000 more tenants with a schema, at rest; the peer and the limit is what it held before. */
export const runtimeSizing = sizingOf('sizing-runtime', 'runtime-a', 60)

/** The same of the operator. */
export const operatorSizing = sizingOf('sizing-operator', 'operator', 120)

function sizingOf(name: string, part: Part, most: number): Bench {
  return { name, unit: 'MiB for 1,000', target: { atMost: most, of: 'ours' }, measure: (rounds) => measure(part, rounds) }
}

async function measure(part: Part, count: number): Promise<Rounds> {
  const platform = await startPlatform()
  const client = connect({ kubeconfig: platform.kubeconfig })
  const memory = async () => {
    await sleep(SETTLE_MS)
    return residentMiB(await platform.pidOf(part))
  }
  try {
    const rounds: Rounds = { ours: [], limit: [], peers: { 'before them': [] } }
    const empty = await memory()
    for (let round = 1; round <= count; round++) {
      const names = Array.from({ length: TENANTS }, (_, index) => `t${round}-${index}`)
      await inParallel(IN_FLIGHT, names, (name) => createTenant(client, 'tenantry', name, 'schema'))
      await platform.kubectl(['wait', '--for=condition=Ready', 'tenants', '--all', '--timeout=300s'])
      rounds.peers['before them']?.push(empty)
      rounds.limit.push(empty)
      rounds.ours.push((Math.max(0, (await memory()) - empty) * 1_000) / (round * TENANTS))
    }
    return rounds
  } finally {
    await client.close()
    await platform.stop()
  }
}
