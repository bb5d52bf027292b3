-- Who is told of a project's events, by HTTP. Secrets are sealed with the operator's key.
--
-- `since` and `made_in` say which events are news: those of transactions that were not visible when the webhook was made or
-- enabled, but for the very one that did it.
CREATE TABLE webhooks (
  id                  uuid PRIMARY KEY,
  project_id          uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
  name                text NOT NULL,
  url                 text NOT NULL,
  events              text[] NOT NULL,
  labels              jsonb NOT NULL DEFAULT '{}',
  enabled             boolean NOT NULL DEFAULT true,
  disabled_reason     text CHECK (disabled_reason IN ('user', 'failing', 'gone')),
  secret              bytea NOT NULL,
  previous_secret     bytea,
  previous_expires_at timestamptz,
  since               pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
  made_in             xid8 NOT NULL DEFAULT pg_current_xact_id(),
  -- How its target does: attempts that failed one after another, since when, when to try again, and whether it takes long.
  failures            integer NOT NULL DEFAULT 0,
  failing_since       timestamptz,
  retry_at            timestamptz,
  is_slow             boolean NOT NULL DEFAULT false,
  revision            bigint NOT NULL DEFAULT 1,
  created_at          timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at          timestamptz NOT NULL DEFAULT aloft_now(),
  UNIQUE (project_id, name),
  CHECK (enabled = (disabled_reason IS NULL)),
  CHECK ((previous_secret IS NULL) = (previous_expires_at IS NULL)),
  CHECK ((failures = 0) = (failing_since IS NULL))
);
