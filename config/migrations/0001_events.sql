-- The tenant's history and how far each projection has read it. :role is the tenant's role; it owns nothing.

CREATE TABLE events (
  tenant_id          uuid NOT NULL,
  position           bigint NOT NULL,
  id                 uuid NOT NULL,
  type               text NOT NULL,
  aggregate_id       uuid NOT NULL,
  aggregate_version  integer NOT NULL,
  data               jsonb NOT NULL,
  time               timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, position),
  UNIQUE (tenant_id, aggregate_id, aggregate_version)
);

CREATE TABLE checkpoints (
  tenant_id   uuid NOT NULL,
  projection  text NOT NULL,
  position    bigint NOT NULL,
  PRIMARY KEY (tenant_id, projection)
);

GRANT SELECT, INSERT ON events TO :role;
GRANT SELECT, INSERT, UPDATE ON checkpoints TO :role;
