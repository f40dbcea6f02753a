import { readFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

/** Makes etcd forget all that was before `revision`, which is the resourceVersion of Kubernetes. `folder`: the control plane's. Throws when etcd refuses. */
export async function compactEtcd(folder: string, revision: string): Promise<void> {
  const files = ['etcd.port', 'tls/ca.crt', 'tls/admin.crt', 'tls/admin.key'].map((name) => readFile(join(folder, name), 'utf8'))
  const [port, ca, cert, key] = await Promise.all(files)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const options = { host: '127.0.0.1', port, path: '/v3/kv/compaction', method: 'POST', ca, cert, key, agent: false } as const
  const asked = request(options, async (response) => {
    const answer = await text(response)
    if (response.statusCode === 200) resolve()
    else reject(new Error(`etcd answers ${response.statusCode}: ${answer}`))
  })
  asked.once('error', reject).end(JSON.stringify({ revision, physical: true }))
  return promise
}
