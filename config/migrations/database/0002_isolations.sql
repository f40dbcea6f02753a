-- Tenants that share tables, and tenants with a database of their own, beside those with a schema. :rows is the role of the first.

ALTER TABLE tenantry.tenants
  DROP CONSTRAINT tenants_schema_name_key,
  DROP CONSTRAINT tenants_role_name_key,
  ADD COLUMN database_name name NOT NULL DEFAULT current_database(),
  -- NULL while a database is being made, which no transaction can hold: what is there then may be made anew.
  ADD COLUMN made_at timestamptz DEFAULT now(),
  -- The last of these migrations that has run in the tenant's own database.
  ADD COLUMN base_version integer;
CREATE UNIQUE INDEX tenants_schema ON tenantry.tenants (schema_name) WHERE isolation = 'schema';
CREATE UNIQUE INDEX tenants_role ON tenantry.tenants (role_name) WHERE isolation <> 'row';

-- The tenants of the shared tables have one role: a row of theirs is shown to the tenant that the transaction names, and to nobody
-- where it names none. The sub-select is worked out once for a statement; after a COMMIT a local setting reads '', not NULL.
ALTER TABLE tenantry.head DROP CONSTRAINT head_role_key;
ALTER TABLE tenantry.relayed DROP CONSTRAINT relayed_role_key;
CREATE POLICY rows ON tenantry.head TO :rows
  USING (role = current_user AND tenant = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY rows ON tenantry.relayed TO :rows
  USING (role = current_user AND tenant = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));

CREATE SCHEMA tenantry_rows;
GRANT USAGE ON SCHEMA tenantry, tenantry_rows TO :rows;
GRANT SELECT, UPDATE (position) ON tenantry.head, tenantry.relayed TO :rows;

CREATE TABLE tenantry.row_migrations (
  version     integer PRIMARY KEY,
  name        text NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT now()
);
