-- Logins by OpenID Connect that have been finished: each can be once. Nothing that could be used is in it.
CREATE TABLE used_logins (
  state_hash bytea PRIMARY KEY CHECK (length(state_hash) = 32),
  at         timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE INDEX used_logins_by_time ON used_logins (at);
