-- `upload` names the file in the image store that holds the content: an upload that was cut off never becomes it.
CREATE TABLE images (
  id                 uuid PRIMARY KEY,
  project_id         uuid NOT NULL REFERENCES projects,
  name               text NOT NULL,
  labels             jsonb NOT NULL DEFAULT '{}',
  architecture       text NOT NULL,
  expected_sha256    text,
  upload             uuid,
  format             text CHECK (format IN ('qcow2', 'raw')),
  size_bytes         bigint,
  virtual_size_bytes bigint,
  sha256             text,
  revision           bigint NOT NULL DEFAULT 1,
  created_at         timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at         timestamptz NOT NULL DEFAULT aloft_now(),
  UNIQUE (project_id, name),
  CHECK ((upload IS NULL) = (sha256 IS NULL))
);
