import { type Choice, course, type Dashboard, number } from './grafana.ts'

const platform = (metric: string): Choice => ({ name: 'namespace', title: 'Platform', metric, label: 'namespace' })
const HERE = 'namespace=~"$namespace"'
const SHARD = `${HERE}, shard=~"$shard"`
const SECONDS = 'tenantry_http_request_duration_seconds'

/** A quantile of the time that requests take, by label or over all. */
const quantile = (at: number, by = '') =>
  `histogram_quantile(${at}, sum by (le${by}) (rate(${SECONDS}_bucket{${HERE}, route!="/v1/admin/export"}[$__rate_interval])))`

const RUNTIME: Dashboard = {
  name: 'runtime',
  title: 'Tenantry: runtime',
  description: 'How requests are answered, and what the replicas need for it.',
  choices: [platform('tenantry_http_in_flight')],
  graphs: [
    number('Replicas', 'Runtimes that tell of themselves.', 'short', `count(tenantry_http_in_flight{${HERE}})`),
    number('Requests', 'Of all replicas.', 'reqps', `sum(rate(${SECONDS}_count{${HERE}}[$__rate_interval]))`),
    number(
      'Failed',
      'Share of requests that were answered with 5xx.',
      'percentunit',
      `sum(rate(${SECONDS}_count{${HERE}, status=~"5.."}[$__rate_interval])) / sum(rate(${SECONDS}_count{${HERE}}[$__rate_interval]))`,
    ),
    number('99th percentile', 'One request in a hundred takes longer.', 's', quantile(0.99)),
    number('Routing age', 'Since a runtime last knew its routing to be current.', 's', `max(tenantry_routing_age_seconds{${HERE}})`),
    number(
      'Breakers open',
      'Dependencies that some replica does not ask at present.',
      'short',
      `count(tenantry_breaker_state{${HERE}} == 2) or vector(0)`,
    ),
    course('Requests by status', '429: over a limit of the tenant. 499: the client left. 503: try again.', 'reqps', [
      `sum by (status) (rate(${SECONDS}_count{${HERE}}[$__rate_interval]))`,
      '{{status}}',
    ]),
    course(
      'Time to answer',
      'From the first byte of a request to the last of its answer; exports, which take as long as the client needs, left out.',
      's',
      [quantile(0.5), 'half'],
      [quantile(0.95), '95 of 100'],
      [quantile(0.99), '99 of 100'],
    ),
    course('Time by route', '95 of 100 requests take less.', 's', [quantile(0.95, ', method, route'), '{{method}} {{route}}']),
    course('Versions', 'How many replicas run each.', 'short', [
      `count by (version) (tenantry_build_info{${HERE}} and on (namespace, pod) tenantry_http_in_flight)`,
      '{{version}}',
    ]),
    course('In flight', 'Requests that wait for their answer: what the autoscaler goes by.', 'short', [
      `tenantry_http_in_flight{${HERE}}`,
      '{{pod}}',
    ]),
    course('Cache', 'Share of look-ups that found something; l1 in the process, l2 in Redis.', 'percentunit', [
      `sum by (level) (rate(tenantry_cache_requests_total{${HERE}, result="hit"}[$__rate_interval])) / sum by (level) (rate(tenantry_cache_requests_total{${HERE}}[$__rate_interval]))`,
      '{{level}}',
    ]),
    course('Breakers', '0 closed, 1 half-open, 2 open.', 'short', [
      `max by (dependency) (tenantry_breaker_state{${HERE}})`,
      '{{dependency}}',
    ]),
    course('Memory', 'Resident, for each replica.', 'bytes', [
      `process_resident_memory_bytes{${HERE}} and on (namespace, pod) tenantry_http_in_flight`,
      '{{pod}}',
    ]),
    course('Processor', 'Seconds in a second, for each replica.', 'percentunit', [
      `rate(process_cpu_seconds_total{${HERE}}[$__rate_interval]) and on (namespace, pod) tenantry_http_in_flight`,
      '{{pod}}',
    ]),
    course('Event loop', 'How long what is to be done waits for its turn, 99 of 100; 10 ms is rest.', 's', [
      `nodejs_eventloop_lag_p99_seconds{${HERE}} and on (namespace, pod) tenantry_http_in_flight`,
      '{{pod}}',
    ]),
  ],
}

const SHARDS: Dashboard = {
  name: 'shards',
  title: 'Tenantry: shards',
  description: 'What the runtimes have of each Postgres server, and how far its events have come.',
  choices: [platform('tenantry_pool_connections'), { name: 'shard', title: 'Shard', metric: 'tenantry_pool_connections', label: 'shard' }],
  graphs: [
    number(
      'Connections',
      'Server connections of all runtimes; spec.capacity.connections is the most there may be.',
      'short',
      `sum by (shard) (tenantry_pool_connections{${SHARD}, state!="waiting"})`,
      '{{shard}}',
    ),
    number(
      'Waiting',
      'Callers that wait for a connection.',
      'short',
      `sum by (shard) (tenantry_pool_connections{${SHARD}, state="waiting"})`,
      '{{shard}}',
    ),
    number(
      'Not published for',
      'Age of the oldest event that is not in JetStream.',
      's',
      `max by (shard) (tenantry_outbox_lag_seconds{${SHARD}})`,
      '{{shard}}',
    ),
    course('Breakers', '0 closed, 1 half-open, 2 open: the worst of all replicas.', 'short', [
      `max by (dependency) (tenantry_breaker_state{${HERE}, dependency=~"shard/($shard)"})`,
      '{{dependency}}',
    ]),
    course(
      'Connections by state',
      'pipelined: shared by reads and commands. busy, idle: relay and projections. databases: to tenants’ own.',
      'short',
      [`sum by (shard, state) (tenantry_pool_connections{${SHARD}})`, '{{shard}} {{state}}'],
    ),
    course('Events not published', 'Age of the oldest one; rises while NATS or the relay is away.', 's', [
      `max by (shard) (tenantry_outbox_lag_seconds{${SHARD}})`,
      '{{shard}}',
    ]),
    course('Events not projected', 'What read models have yet to apply.', 'short', [
      `sum by (shard, projection) (tenantry_projection_lag_events{${SHARD}})`,
      '{{shard}} {{projection}}',
    ]),
  ],
}

const OPERATOR: Dashboard = {
  name: 'operator',
  title: 'Tenantry: operator',
  description: 'Tenants by phase, and how the operator gets on with them.',
  choices: [platform('tenantry_leader')],
  graphs: [
    number('Leaders', 'One for each platform.', 'short', `sum(tenantry_leader{${HERE}})`),
    number('Ready', 'Tenants whose next request is served.', 'short', `sum(tenantry_tenants{${HERE}, phase="Ready"})`),
    number('Failed', 'Tenants that need somebody.', 'short', `sum(tenantry_tenants{${HERE}, phase="Failed"}) or vector(0)`),
    number('Walls found down', 'In the last day.', 'short', `sum(increase(tenantry_isolation_breaches_total{${HERE}}[1d])) or vector(0)`),
    course('Versions', 'How many operators run each.', 'short', [
      `count by (version) (tenantry_build_info{${HERE}} and on (namespace, pod) tenantry_leader)`,
      '{{version}}',
    ]),
    course('Tenants', 'By phase.', 'short', [`sum by (phase) (tenantry_tenants{${HERE}})`, '{{phase}}']),
    course('Passes', 'By kind and how they ended; error and timeout are tried again with a growing pause.', 'ops', [
      `sum by (kind, result) (rate(tenantry_reconcile_duration_seconds_count{${HERE}}[$__rate_interval]))`,
      '{{kind}} {{result}}',
    ]),
    course('Time of a pass', '95 of 100 take less.', 's', [
      `histogram_quantile(0.95, sum by (le, kind) (rate(tenantry_reconcile_duration_seconds_bucket{${HERE}}[$__rate_interval])))`,
      '{{kind}}',
    ]),
    course('Waiting', 'Keys that wait for a free place.', 'short', [`sum by (kind) (tenantry_workqueue_depth{${HERE}})`, '{{kind}}']),
    course('Watches', 'Since the API server last gave a sign of life; from 60 s on the operator is not ready.', 's', [
      `max by (kind) (tenantry_watch_age_seconds{${HERE}})`,
      '{{kind}}',
    ]),
    course('Watches resumed', 'By what was watched and why.', 'ops', [
      `sum by (kind, reason) (rate(tenantry_watch_restarts_total{${HERE}}[$__rate_interval]))`,
      '{{kind}} {{reason}}',
    ]),
    course('Memory', 'Resident, for each replica.', 'bytes', [
      `process_resident_memory_bytes{${HERE}} and on (namespace, pod) tenantry_leader`,
      '{{pod}}',
    ]),
  ],
}

const TENANT = `${HERE}, tenant="$tenant"`

const ONE_TENANT: Dashboard = {
  name: 'tenant',
  title: 'Tenantry: one tenant',
  description: 'A tenant of the busiest that TENANTRY_METRICS_TENANTS has the runtimes name; empty without that setting.',
  choices: [
    platform('tenantry_http_in_flight'),
    { name: 'tenant', title: 'Tenant', metric: 'tenantry_tenant_requests_total', label: 'tenant', isSingle: true },
  ],
  graphs: [
    number('Requests', 'On all replicas.', 'reqps', `sum(rate(tenantry_tenant_requests_total{${TENANT}}[$__rate_interval]))`),
    number(
      'Share',
      'Of all requests of the platform.',
      'percentunit',
      `sum(rate(tenantry_tenant_requests_total{${TENANT}}[$__rate_interval])) / sum(rate(${SECONDS}_count{${HERE}}[$__rate_interval]))`,
    ),
    number(
      'Refused by limits',
      'Requests answered 429.',
      'reqps',
      `sum(rate(tenantry_tenant_requests_total{${TENANT}, status="429"}[$__rate_interval])) or vector(0)`,
    ),
    number(
      'Failed',
      'Requests answered 5xx.',
      'reqps',
      `sum(rate(tenantry_tenant_requests_total{${TENANT}, status=~"5.."}[$__rate_interval])) or vector(0)`,
    ),
    course('Requests by status', 'On all replicas.', 'reqps', [
      `sum by (status) (rate(tenantry_tenant_requests_total{${TENANT}}[$__rate_interval]))`,
      '{{status}}',
    ]),
    course('Mean time to answer', 'On all replicas.', 's', [
      `sum(rate(tenantry_tenant_request_seconds_total{${TENANT}}[$__rate_interval])) / sum(rate(tenantry_tenant_requests_total{${TENANT}}[$__rate_interval]))`,
      'mean',
    ]),
    course('At work', 'How many of its requests are under way at once, on average: rate times time.', 'short', [
      `sum by (pod) (rate(tenantry_tenant_request_seconds_total{${TENANT}}[$__rate_interval]))`,
      '{{pod}}',
    ]),
    course('The busiest', 'Who else is.', 'reqps', [
      `topk(10, sum by (tenant) (rate(tenantry_tenant_requests_total{${HERE}}[$__rate_interval])))`,
      '{{tenant}}',
    ]),
  ],
}

/** All dashboards. */
export const DASHBOARDS: readonly Dashboard[] = [RUNTIME, SHARDS, OPERATOR, ONE_TENANT]
