-- When a tenant was last swept of what its settings no longer keep: of all replicas one does it at a time. And its completed tasks by time.

CREATE TABLE sweeps (
  tenant_id  uuid PRIMARY KEY,
  swept_at   timestamptz NOT NULL
);
CREATE INDEX tasks_by_completion ON tasks (tenant_id, completed_at) WHERE completed_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON sweeps TO :role;
