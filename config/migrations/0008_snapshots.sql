-- What a rebuild needs of events that are removed: each read model as it was after the last of them, in a twin of each of its tables.

CREATE TABLE snapshots (
  tenant_id   uuid NOT NULL,
  projection  text NOT NULL,
  -- Of the last event that is in the snapshot, and no longer in the event table.
  position    bigint NOT NULL,
  PRIMARY KEY (tenant_id, projection)
);

CREATE TABLE task_counts_snapshot (LIKE task_counts INCLUDING ALL);
CREATE TABLE task_due_snapshot (LIKE task_due INCLUDING ALL);

GRANT SELECT, INSERT, UPDATE ON snapshots TO :role;
GRANT SELECT, INSERT, UPDATE, DELETE ON task_counts_snapshot, task_due_snapshot TO :role;
GRANT DELETE ON events TO :role;
