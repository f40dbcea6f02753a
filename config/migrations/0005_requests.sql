-- What is remembered of requests: the answers of commands with an Idempotency-Key, and who has done what.

-- The answer to a command, kept so that a retry gets it again. Written in the command's own transaction.
CREATE TABLE idempotency (
  tenant_id     uuid NOT NULL,
  caller        text NOT NULL,
  key           text NOT NULL,
  -- Of the command and its input.
  fingerprint   text NOT NULL,
  aggregate_id  uuid NOT NULL,
  version       integer NOT NULL,
  position      bigint NOT NULL,
  body          text,
  time          timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, caller, key)
);
CREATE INDEX idempotency_by_time ON idempotency (tenant_id, time);

-- The audit log of what was done stands with the events: on the last one of each command. They are NULL on all others, and on older events.
ALTER TABLE events ADD COLUMN command text, ADD COLUMN caller text, ADD COLUMN request_id text;

-- The rest of the audit log, what left no event: refused commands and what administrators have read. `position` is that of the head, so that
-- both halves have one order; `number` goes up with the time.
CREATE TABLE audit (
  tenant_id   uuid NOT NULL,
  position    bigint NOT NULL,
  number      bigint NOT NULL,
  id          uuid NOT NULL,
  time        timestamptz NOT NULL,
  caller      text NOT NULL,
  action      text NOT NULL,
  result      text NOT NULL,
  target      uuid,
  request_id  text NOT NULL,
  PRIMARY KEY (tenant_id, position, number, id)
);
CREATE INDEX audit_by_time ON audit (tenant_id, time);

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO :role;
GRANT SELECT, INSERT, DELETE ON audit TO :role;
