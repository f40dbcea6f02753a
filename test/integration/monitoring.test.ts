import { execFile } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { parse, stringify } from 'yaml'
import { DASHBOARDS } from '../../config/kubernetes/monitoring/dashboards.ts'
import { toGrafana } from '../../config/kubernetes/monitoring/grafana.ts'
import { ALERT_CASES, type AlertCase } from '../builders/alert-cases.ts'
import { createNamespace } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { sendTo } from '../builders/http.ts'
import { installCrds, startOperator } from '../builders/operator.ts'
import { createWorld, startReadyRuntime } from '../builders/world.ts'

type Rule = { alert?: string; record?: string; expr: string; labels?: Record<string, string>; annotations?: Record<string, string> }

const FOLDER = 'config/kubernetes/monitoring'
const groups: { name: string; rules: Rule[] }[] = parse(readFileSync(`${FOLDER}/alerts.yaml`, 'utf8')).spec.groups
const rules = groups.flatMap((group) => group.rules)
const alerts = rules.filter(({ alert }) => alert !== undefined)

/** Everything that a dashboard asks Prometheus, also for its choices. */
const questions = DASHBOARDS.flatMap(({ graphs, choices }) => [
  ...graphs.flatMap(({ queries }) => queries.map(([expression]) => expression)),
  ...choices.map(({ metric, label }) => `${metric}{${label}!=""}`),
])

/** What Prometheus itself adds to each series of a pod. */
const ADDED = ['namespace', 'pod']

let folder: string
/** By metric: the labels that its series have; empty where none was seen. */
const exported = new Map<string, Set<string>>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-rules-'))
  await installCrds()
  const world = await createWorld()
  const acme = await world.addTenant('acme')
  const backends = { TENANTRY_REDIS_URL: inject('redis').url, TENANTRY_NATS_URL: inject('nats').url }
  const runtime = await startReadyRuntime(world, { TENANTRY_METRICS_TENANTS: '1', ...backends })
  const operator = await startOperator(await createNamespace())
  await sendTo(runtime.url, '/v1/tasks', { as: acme })
  await vi.waitFor(
    async () => {
      for (const url of [runtime.metricsUrl, `${operator.url}/metrics`]) note(await (await fetch(url)).text())
      for (const name of ['tenantry_pool_connections', 'tenantry_outbox_lag_seconds', 'tenantry_watch_age_seconds', 'tenantry_leader'])
        expect(exported.get(name), name).toSatisfy((labels: Set<string>) => labels.size > 0)
    },
    { timeout: 30_000, interval: 200 },
  )
  await Promise.all([runtime.stop(), operator.stop()])
  await world.remove()
})

afterAll(() => rm(folder, { recursive: true, force: true }))

function note(text: string): void {
  for (const [, name = ''] of text.matchAll(/^# TYPE (\w+) /gm)) exported.set(name, exported.get(name) ?? new Set())
  for (const [, series = '', labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? /gm)) {
    const seen = exported.get(metricOf(series))
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) seen?.add(label)
    seen?.add('')
  }
}

/** The name as it is exported: a histogram has three kinds of series. */
function metricOf(series: string): string {
  const whole = series.replace(/_(bucket|count|sum)$/, '')
  return exported.has(whole) ? whole : series
}

/** The metrics in an expression, with the labels that are asked of them. */
function asked(expression: string): { metric: string; labels: string[] }[] {
  return [...expression.matchAll(/\b((?:tenantry|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)].map(([, series = '', matchers = '']) => ({
    metric: metricOf(series),
    labels: [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label),
  }))
}

describe('what alerts and dashboards ask for', () => {
  test('is exported by the programs, under these names and labels', () => {
    const all = [...rules.map(({ expr }) => expr), ...questions].flatMap(asked)
    const unknown = all.filter(({ metric }) => !exported.has(metric)).map(({ metric }) => metric)
    expect(unknown).toEqual([])
    const strange = all.flatMap(({ metric, labels }) => {
      const known = exported.get(metric) ?? new Set()
      return known.size === 0
        ? []
        : labels.filter((label) => !ADDED.includes(label) && !known.has(label)).map((label) => `${metric}{${label}}`)
    })
    expect(strange).toEqual([])
    const own = [...exported.keys()].filter((name) => name.startsWith('tenantry_'))
    const unasked = own.filter((name) => !all.some(({ metric }) => metric === name))
    expect(unasked, 'metrics that no alert and no dashboard shows').toEqual([])
    printFigure(
      `monitoring: ${own.length} metrics of ours, all of them shown; ${alerts.length} alerts, ${questions.length} queries on ${DASHBOARDS.length} dashboards`,
    )
  })

  test('of recorded rules there is each', () => {
    const recorded = new Set(rules.map(({ record }) => record))
    const used = rules.flatMap(({ expr }) => [...expr.matchAll(/\b(tenantry:[\w:]+)/g)].map(([, name]) => name))
    expect(used.filter((name) => !recorded.has(name))).toEqual([])
  })
})

test('the dashboards that are imported are those of the source', () => {
  const files = globSync(`${FOLDER}/dashboards/*.json`).map((path) => JSON.parse(readFileSync(path, 'utf8')))
  const byUid = (a: { uid?: string }, b: { uid?: string }) => String(a.uid).localeCompare(String(b.uid))
  expect(files.toSorted(byUid), 'run `make dashboards`').toEqual(DASHBOARDS.map(toGrafana).toSorted(byUid))
  const [generated] = parse(readFileSync(`${FOLDER}/kustomization.yaml`, 'utf8')).configMapGenerator
  expect(generated.files).toEqual(DASHBOARDS.map(({ name }) => `dashboards/${name}.json`).toSorted())
})

test('each alert leads to a section of the runbook, which has no other', () => {
  const runbook = readFileSync('docs/runbook.md', 'utf8')
  const headings = [...runbook.matchAll(/^## (Tenantry\w+)$/gm)].map(([, heading]) => heading)
  expect(headings).toEqual(alerts.map(({ alert }) => alert))
  for (const { alert, labels, annotations } of alerts) {
    expect(annotations?.runbook_url).toBe(`docs/runbook.md#${alert?.toLowerCase()}`)
    expect(annotations?.summary).toBeTruthy()
    expect(labels?.severity).toMatch(/^(critical|warning)$/)
  }
})

describe('as Prometheus reads them', () => {
  test('the rules are valid, each alert fires when it should, and stays silent when it should', async () => {
    expect(Object.keys(ALERT_CASES)).toEqual(alerts.map(({ alert }) => alert))
    await writeFile(join(folder, 'rules.yaml'), stringify({ groups }))
    await writeFile(join(folder, 'questions.yaml'), stringify({ groups: [{ name: 'dashboards', rules: questions.map(asRule) }] }))
    await writeFile(
      join(folder, 'tests.yaml'),
      stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests: casesOf(ALERT_CASES) }),
    )
    const checked = await promtool('check', 'rules', 'rules.yaml', 'questions.yaml')
    if (checked === undefined) {
      printFigure('monitoring: NOT RUN: promtool, which is not in PATH (Debian has it in the package prometheus)')
      return
    }
    const tested = await promtool('test', 'rules', 'tests.yaml')
    expect([checked.failed ? checked.output : '', tested?.failed ? tested.output : '']).toEqual(['', ''])
    printFigure(
      `monitoring: promtool takes ${rules.length} rules and ${questions.length} queries; ${alerts.length} alerts fire and stay silent as they should`,
    )
  })
})

/** A question as a rule that promtool can read: what Grafana fills in is filled in. */
function asRule(question: string, at: number): Rule {
  return { record: `question:${at}`, expr: question.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*') }
}

function casesOf(cases: Readonly<Record<string, AlertCase>>): object[] {
  return Object.entries(cases).flatMap(([alert, { fires, silent, after }]) => [
    caseOf(alert, fires, after, 1),
    caseOf(alert, silent, after, 0),
  ])
}

function caseOf(alert: string, series: AlertCase['fires'], after: string, firing: number): object {
  const expr = `count(ALERTS{alertname="${alert}", alertstate="firing"}) or vector(0)`
  return {
    name: `${alert} ${firing === 1 ? 'fires' : 'is silent'}`,
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: [{ expr, eval_time: after, exp_samples: [{ labels: '{}', value: firing }] }],
  }
}

/** What promtool says; undefined where there is none. */
function promtool(...words: string[]): Promise<{ failed: boolean; output: string } | undefined> {
  return new Promise((resolve) => {
    execFile('promtool', words, { cwd: folder }, (error, stdout, stderr) =>
      resolve(error?.code === 'ENOENT' ? undefined : { failed: error !== null, output: `${stdout}${stderr}` }),
    )
  })
}
