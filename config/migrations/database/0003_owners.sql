-- Whose a tenant is: several installations of the operator, in clusters that do not know each other, may be aimed at one server.

ALTER TABLE tenantry.tenants
  -- The installation that made it; NULL in what is older than this column, which is of the installation that the database is marked for.
  ADD COLUMN installation uuid,
  -- The UID of the Tenant that has it now; NULL: the one it was made for, whose UID stays in every row, key and name.
  ADD COLUMN owner uuid;
