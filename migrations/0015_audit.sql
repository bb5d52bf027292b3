CREATE TABLE audit (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at          timestamptz NOT NULL DEFAULT aloft_now(),
  actor       text NOT NULL,
  peer        text NOT NULL,
  request_id  text NOT NULL,
  operation   text NOT NULL,
  project_id  uuid,
  resource_id uuid
);
