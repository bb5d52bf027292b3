-- Who may use an image besides its project, what it needs, and whether it is still recommended. What was made from it stays, whatever
-- becomes of these.
ALTER TABLE images
  ADD is_public      boolean NOT NULL DEFAULT false,
  ADD firmware       text CHECK (firmware IN ('bios', 'uefi')),
  ADD min_disk_gib   bigint CHECK (min_disk_gib > 0),
  ADD min_memory_mib bigint CHECK (min_memory_mib > 0),
  ADD default_user   text,
  ADD deprecated_at  timestamptz,
  ADD deprecation    text,
  ADD CHECK ((deprecated_at IS NULL) = (deprecation IS NULL));

CREATE INDEX images_by_project ON images (project_id, id);
CREATE INDEX images_by_name ON images (name);
CREATE INDEX images_public ON images (id) WHERE is_public;

CREATE TABLE image_shares (
  image_id   uuid NOT NULL REFERENCES images ON DELETE CASCADE,
  project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT aloft_now(),
  PRIMARY KEY (image_id, project_id)
);

CREATE INDEX image_shares_by_project ON image_shares (project_id, image_id);
