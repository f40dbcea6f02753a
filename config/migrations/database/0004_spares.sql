-- Schemas with role and tables that stand ready for the next tenants, which take them over by renaming. No tenant yet: none has a head or a record.

CREATE TABLE tenantry.spares (
  -- Of the schema and of its role.
  name     name PRIMARY KEY,
  -- The last migration that has run in it: with an older one it is dropped, never brought up to date.
  version  integer NOT NULL
);
