CREATE TABLE operations (
  id           uuid PRIMARY KEY,
  project_id   uuid,
  kind         text NOT NULL,
  resource_id  uuid NOT NULL,
  -- The generation of the resource's intent that this operation made: it is done when that has been seen.
  generation   bigint NOT NULL,
  -- The one-time request that carries it out, where there is one.
  vm_request   uuid,
  status       text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'succeeded', 'failed')),
  waiting_for  text,
  progress     integer,
  error_code   text,
  error_detail text,
  actor        text NOT NULL,
  request_id   text NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT aloft_now(),
  deadline     timestamptz NOT NULL,
  finished_at  timestamptz,
  CHECK ((status IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)),
  CHECK ((status = 'failed') = (error_code IS NOT NULL))
);

CREATE INDEX operations_by_project ON operations (project_id, id);
CREATE INDEX operations_by_resource ON operations (resource_id, id);
CREATE INDEX operations_open ON operations (resource_id) WHERE finished_at IS NULL;
