-- A task is assigned to one of the tenant's users. The text that stood in `assignee` before stays for runtimes that still write it, until a
-- later migration drops it.

ALTER TABLE tasks
  ADD COLUMN assignee_id uuid,
  -- Deferrable, so that users and tasks can go in any order in one transaction.
  ADD CONSTRAINT tasks_assignee FOREIGN KEY (tenant_id, assignee_id) REFERENCES users (tenant_id, id) DEFERRABLE;
CREATE INDEX tasks_by_assignee_id ON tasks (tenant_id, assignee_id, id) WHERE assignee_id IS NOT NULL;
