/** What Prometheus sees before an alert fires: series in promtool's notation, of minutes, and when it is asked. And what looks alike and must not fire. */
export type AlertCase = { fires: Readonly<Record<string, string>>; silent: Readonly<Record<string, string>>; after: string }

const ns = 'namespace="a"'
const COUNT = 'tenantry_http_request_duration_seconds_count'
const BUCKET = 'tenantry_http_request_duration_seconds_bucket'
const PASSES = 'tenantry_reconcile_duration_seconds_count'
const LAG = 'nodejs_eventloop_lag_p99_seconds'

const requests = (failed: number) => ({
  [`${COUNT}{${ns}, status="200"}`]: `0+${6_000 - failed}x120`,
  [`${COUNT}{${ns}, status="503"}`]: `0+${failed}x120`,
})

const answers = (route: string, slow: number) => ({
  [`${BUCKET}{${ns}, route="${route}", le="1"}`]: `0+${1_000 - slow}x120`,
  [`${BUCKET}{${ns}, route="${route}", le="2.5"}`]: '0+1000x120',
  [`${BUCKET}{${ns}, route="${route}", le="+Inf"}`]: '0+1000x120',
})

/** One for each alert of config/kubernetes/monitoring/alerts.yaml. */
export const ALERT_CASES: Readonly<Record<string, AlertCase>> = {
  TenantryWallDown: {
    fires: { [`tenantry_isolation_breaches_total{${ns}, isolation="row", reason="RowSecurityOff"}`]: '0x5 1x20' },
    silent: { [`tenantry_isolation_breaches_total{${ns}, isolation="row", reason="RowSecurityOff"}`]: '1x60' },
    after: '10m',
  },
  TenantryRequestsFail: { fires: requests(120), silent: requests(30), after: '90m' },
  TenantryRequestsSlow: {
    fires: answers('/v1/tasks', 30),
    silent: { ...answers('/v1/tasks', 5), ...answers('/v1/admin/export', 900) },
    after: '60m',
  },
  TenantryRuntimeAway: {
    fires: { 'up{job="other"}': '1x60' },
    silent: { [`tenantry_http_in_flight{${ns}, pod="x"}`]: '0x60' },
    after: '30m',
  },
  TenantryEventLoopBlocked: {
    fires: { [`${LAG}{${ns}, pod="x"}`]: '0.4x60', [`tenantry_http_in_flight{${ns}, pod="x"}`]: '3x60' },
    silent: {
      [`${LAG}{${ns}, pod="not ours"}`]: '0.4x60',
      [`${LAG}{${ns}, pod="x"}`]: '0.02x60',
      [`tenantry_leader{${ns}, pod="x"}`]: '1x60',
    },
    after: '30m',
  },
  TenantryShardAway: {
    fires: { [`tenantry_breaker_state{${ns}, dependency="shard/a"}`]: '2x60' },
    silent: {
      [`tenantry_breaker_state{${ns}, dependency="shard/a"}`]: '0x5 2 0x60',
      [`tenantry_breaker_state{${ns}, dependency="redis"}`]: '2x60',
    },
    after: '6m',
  },
  TenantryRedisAway: {
    fires: { [`tenantry_breaker_state{${ns}, dependency="redis"}`]: '2x60' },
    silent: { [`tenantry_breaker_state{${ns}, dependency="redis"}`]: '1x60' },
    after: '30m',
  },
  TenantryConnectionsShort: {
    fires: { [`tenantry_pool_connections{${ns}, shard="a", state="waiting"}`]: '4x60' },
    silent: {
      [`tenantry_pool_connections{${ns}, shard="a", state="busy"}`]: '4x60',
      [`tenantry_pool_connections{${ns}, shard="a", state="waiting"}`]: '0x60',
    },
    after: '30m',
  },
  TenantryEventsWait: {
    fires: { [`tenantry_outbox_lag_seconds{${ns}, shard="a"}`]: '0+60x60' },
    silent: { [`tenantry_outbox_lag_seconds{${ns}, shard="a"}`]: '30x60' },
    after: '30m',
  },
  TenantryProjectionBehind: {
    fires: { [`tenantry_projection_lag_events{${ns}, shard="a", projection="p"}`]: '5000x60' },
    silent: { [`tenantry_projection_lag_events{${ns}, shard="a", projection="p"}`]: '200x60' },
    after: '30m',
  },
  TenantryRoutingOld: {
    fires: { [`tenantry_routing_age_seconds{${ns}, pod="x"}`]: '0+60x60' },
    silent: { [`tenantry_routing_age_seconds{${ns}, pod="x"}`]: '20x60' },
    after: '30m',
  },
  TenantryRoutingUnreadable: {
    fires: { [`tenantry_routing_faults_total{${ns}, document="d", reason="newer"}`]: '0x5 1x20' },
    silent: { [`tenantry_routing_faults_total{${ns}, document="d", reason="newer"}`]: '1x60' },
    after: '10m',
  },
  TenantryNoLeader: {
    fires: { [`tenantry_leader{${ns}, pod="x"}`]: '0x60', [`tenantry_leader{${ns}, pod="y"}`]: '0x60' },
    silent: { [`tenantry_leader{${ns}, pod="x"}`]: '0x60', [`tenantry_leader{${ns}, pod="y"}`]: '1x60' },
    after: '30m',
  },
  TenantryTwoLeaders: {
    fires: { [`tenantry_leader{${ns}, pod="x"}`]: '1x60', [`tenantry_leader{${ns}, pod="y"}`]: '1x60' },
    silent: { [`tenantry_leader{${ns}, pod="x"}`]: '1x60', 'tenantry_leader{namespace="b", pod="y"}': '1x60' },
    after: '30m',
  },
  TenantryPassesFail: {
    fires: { [`${PASSES}{${ns}, kind="tenant", result="error"}`]: '0+2x60' },
    silent: { [`${PASSES}{${ns}, kind="tenant", result="done"}`]: '0+90x60', [`${PASSES}{${ns}, kind="tenant", result="error"}`]: '0x60' },
    after: '40m',
  },
  TenantryTenantsFailed: {
    fires: { [`tenantry_tenants{${ns}, phase="Failed"}`]: '2x60' },
    silent: { [`tenantry_tenants{${ns}, phase="Suspended"}`]: '2x60' },
    after: '30m',
  },
  TenantryTenantsStuck: {
    fires: { [`tenantry_tenants{${ns}, phase="Provisioning"}`]: '1x60' },
    silent: {
      [`tenantry_tenants{${ns}, phase="Provisioning"}`]: '1x10 0 1x20 0 1x20',
      [`tenantry_tenants{${ns}, phase="Ready"}`]: '9x60',
    },
    after: '45m',
  },
  TenantryQueueGrows: {
    fires: { [`tenantry_workqueue_depth{${ns}, kind="tenant"}`]: '150x60' },
    silent: { [`tenantry_workqueue_depth{${ns}, kind="tenant"}`]: '150x10 0x50' },
    after: '45m',
  },
  TenantryWatchSilent: {
    fires: { [`tenantry_watch_age_seconds{${ns}, kind="tenants"}`]: '0+60x60' },
    silent: { [`tenantry_watch_age_seconds{${ns}, kind="tenants"}`]: '45x60' },
    after: '30m',
  },
}
