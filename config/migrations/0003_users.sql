-- The tenant's users. What is told of a person stands here and nowhere else: events and other tables know a user by the id.

CREATE TABLE users (
  tenant_id     uuid NOT NULL,
  id            uuid NOT NULL,
  -- Trimmed and in lower case.
  email         text NOT NULL,
  display_name  text NOT NULL,
  version       integer NOT NULL,
  position      bigint NOT NULL,
  created_at    timestamptz NOT NULL,
  updated_at    timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, email)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON users TO :role;
