-- What a Shard's database holds besides its tenants. Runs once, as the admin login, which owns everything here.
-- :runtime is the group of the runtime's logins, :tenants the group of all tenant roles.

CREATE SCHEMA tenantry;
GRANT USAGE ON SCHEMA tenantry TO :runtime, :tenants;

CREATE TABLE tenantry.database_migrations (
  version     integer PRIMARY KEY,
  name        text NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT now()
);

-- Whose data stands where: read before anything is adopted, altered or dropped.
CREATE TABLE tenantry.tenants (
  uid          uuid PRIMARY KEY,
  namespace    text NOT NULL,
  name         text NOT NULL,
  isolation    text NOT NULL,
  schema_name  name NOT NULL UNIQUE,
  role_name    name NOT NULL UNIQUE,
  epoch        integer NOT NULL DEFAULT 1,
  retained_at  timestamptz,
  created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenantry.migrations (
  tenant      uuid NOT NULL REFERENCES tenantry.tenants ON DELETE CASCADE,
  version     integer NOT NULL,
  name        text NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, version)
);

-- The head of a tenant: the position of its last event. The row's lock makes number order commit order.
CREATE TABLE tenantry.head (
  tenant    uuid PRIMARY KEY REFERENCES tenantry.tenants ON DELETE CASCADE,
  role      name NOT NULL UNIQUE,
  position  bigint NOT NULL DEFAULT 0,
  epoch     integer NOT NULL
);

-- How far a tenant's events have been relayed. Apart from the head, so that a relay never waits for a command's lock, or holds it up.
CREATE TABLE tenantry.relayed (
  tenant    uuid PRIMARY KEY REFERENCES tenantry.tenants ON DELETE CASCADE,
  role      name NOT NULL UNIQUE,
  position  bigint NOT NULL DEFAULT 0
);

ALTER TABLE tenantry.head ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.relayed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY operator ON tenantry.head TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY operator ON tenantry.relayed TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY own ON tenantry.head TO :tenants USING (role = current_user) WITH CHECK (role = current_user);
CREATE POLICY own ON tenantry.relayed TO :tenants USING (role = current_user) WITH CHECK (role = current_user);
CREATE POLICY poll ON tenantry.head FOR SELECT TO :runtime USING (true);
CREATE POLICY poll ON tenantry.relayed FOR SELECT TO :runtime USING (true);

GRANT SELECT, UPDATE (position) ON tenantry.head, tenantry.relayed TO :tenants;
GRANT SELECT ON tenantry.head, tenantry.relayed TO :runtime;
