import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { createServer, request } from 'node:https'

// Runs in a pod of its own, from a ConfigMap: it imports nothing but Node's modules. What prometheus-adapter makes of Prometheus, this makes of
// the runtimes' own metrics: of each pod the mean of what it was seen to have in the last half minute.

const { NAMESPACE: namespace = '', SELECTOR: selector = '', METRIC: metric = '', METRICS_PORT: port = '' } = process.env
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'
const GROUP = 'custom.metrics.k8s.io/v1beta2'
const LOOKS = 6
const EVERY_MS = 5_000

type Pod = { metadata: { name: string }; status: { podIP?: string; phase: string } }

/** The last looks at each pod, by its name. */
const seen = new Map<string, number[]>()

function text(send: typeof get | typeof request, url: string, options: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = send(url, { timeout: 2_000, ...options }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('end', () => resolve(Buffer.concat(chunks).toString()))
      answer.on('error', reject)
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', reject)
    asked.end()
  })
}

async function pods(): Promise<Pod[]> {
  const [ca, token] = [readFileSync(`${ACCOUNT}/ca.crt`), readFileSync(`${ACCOUNT}/token`, 'utf8')]
  const url = `https://kubernetes.default.svc/api/v1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(selector)}`
  return JSON.parse(await text(request, url, { ca, headers: { authorization: `Bearer ${token}` } })).items
}

async function look({ metadata: { name }, status }: Pod): Promise<void> {
  const page = await text(get, `http://${status.podIP}:${port}/metrics`, {})
  const value = new RegExp(`^${metric} (\\S+)$`, 'm').exec(page)?.[1]
  if (value !== undefined) seen.set(name, [...(seen.get(name) ?? []), Number(value)].slice(-LOOKS))
}

async function lookAtAll(): Promise<void> {
  const running = (await pods()).filter(({ status }) => status.phase === 'Running' && status.podIP !== undefined)
  const names = new Set(running.map(({ metadata }) => metadata.name))
  for (const name of seen.keys()) if (!names.has(name)) seen.delete(name)
  await Promise.allSettled(running.map(look))
}

function values(): object {
  const items = [...seen].map(([name, looks]) => ({
    describedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name },
    metric: { name: metric },
    timestamp: new Date().toISOString(),
    value: `${Math.round((1_000 * looks.reduce((sum, one) => sum + one, 0)) / looks.length)}m`,
  }))
  return { apiVersion: GROUP, kind: 'MetricValueList', metadata: {}, items }
}

function resources(): object {
  const resource = { name: `pods/${metric}`, singularName: '', namespaced: true, kind: 'MetricValueList', verbs: ['get'] }
  return { apiVersion: 'v1', kind: 'APIResourceList', groupVersion: GROUP, resources: [resource] }
}

const [key, cert] = ['tls.key', 'tls.crt'].map((file) => readFileSync(`/tls/${file}`))
createServer({ key, cert }, ({ url = '' }, response) => {
  const path = decodeURIComponent(url.split('?')[0] ?? '')
  const answer = path === `/apis/${GROUP}` ? resources() : path.endsWith(`/pods/*/${metric}`) ? values() : undefined
  response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
}).listen(8443)

setInterval(() => void lookAtAll().catch((error: unknown) => process.stderr.write(`${error}\n`)), EVERY_MS)
