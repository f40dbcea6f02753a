-- How far a sweep has taken the audit log's lines off the events: all up to there have been looked at. The events themselves stay.

ALTER TABLE sweeps ADD COLUMN audited bigint NOT NULL DEFAULT 0;

GRANT UPDATE (command, caller, request_id) ON events TO :role;
