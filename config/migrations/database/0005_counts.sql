-- How many of each thing a tenant has, such as {"tasks": 12}: kept by the statements that advance the head, under its lock, so that a limit holds
-- exactly and nothing is counted for it. What has no number yet is counted once, by the next command.

ALTER TABLE tenantry.head ADD COLUMN counts jsonb NOT NULL DEFAULT '{}';
GRANT UPDATE (counts) ON tenantry.head TO :tenants, :rows;
