-- One event on its way to one webhook, and how that went. `body` is what is sent: the same for every attempt.
CREATE TABLE webhook_deliveries (
  id           uuid PRIMARY KEY,
  webhook_id   uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
  kind         text NOT NULL,
  body         text NOT NULL,
  state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
  due_at       timestamptz DEFAULT aloft_now(),
  -- Behind this it is given up.
  expires_at   timestamptz NOT NULL DEFAULT aloft_now() + interval '1 day',
  attempts     integer NOT NULL DEFAULT 0,
  -- Attempts since somebody asked for it to be sent again: what the pause behind the next failure depends on.
  tries        integer NOT NULL DEFAULT 0,
  -- Of the last attempt.
  attempted_at timestamptz,
  duration_ms  integer,
  status       integer,
  error        text,
  detail       text,
  response     text,
  created_at   timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((state = 'pending') = (due_at IS NOT NULL))
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_log ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (webhook_id, id) WHERE state = 'failed';
CREATE INDEX webhook_deliveries_by_time ON webhook_deliveries (created_at);
