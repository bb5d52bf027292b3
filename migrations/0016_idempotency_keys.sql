-- The answer to a POST, kept in the transaction of its effect.
CREATE TABLE idempotency_keys (
  actor        text NOT NULL,
  key          text NOT NULL,
  request_hash bytea NOT NULL,
  status       integer,
  headers      jsonb,
  body         bytea,
  created_at   timestamptz NOT NULL DEFAULT aloft_now(),
  PRIMARY KEY (actor, key)
);

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
