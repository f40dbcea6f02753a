-- Tasks as commands leave them, and the read model of their statistics.

CREATE TABLE tasks (
  tenant_id     uuid NOT NULL,
  id            uuid NOT NULL,
  title         text NOT NULL,
  description   text,
  priority      text NOT NULL CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
  status        text NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed')),
  tags          text[] NOT NULL,
  due_date      timestamptz,
  assignee      text,
  version       integer NOT NULL,
  position      bigint NOT NULL,
  created_at    timestamptz NOT NULL,
  updated_at    timestamptz NOT NULL,
  completed_at  timestamptz,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX tasks_by_status ON tasks (tenant_id, status, id);
CREATE INDEX tasks_by_assignee ON tasks (tenant_id, assignee, id) WHERE assignee IS NOT NULL;

-- How many tasks there are of each kind, and how many open ones are due at each time: overdue is then a sum.
CREATE TABLE task_counts (
  tenant_id  uuid NOT NULL,
  status     text NOT NULL,
  priority   text NOT NULL,
  tasks      bigint NOT NULL,
  PRIMARY KEY (tenant_id, status, priority)
);
CREATE TABLE task_due (
  tenant_id  uuid NOT NULL,
  due_date   timestamptz NOT NULL,
  tasks      bigint NOT NULL,
  PRIMARY KEY (tenant_id, due_date)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON tasks, task_counts, task_due TO :role;
