-- An image's content while it comes in. The object's name is drawn when the upload begins; `state` is how the store goes on with it.
-- Who writes holds a lease: one at a time, whatever replica it is at.
CREATE TABLE image_uploads (
  image_id      uuid PRIMARY KEY REFERENCES images ON DELETE CASCADE,
  content       uuid NOT NULL UNIQUE,
  state         text NOT NULL,
  durable_bytes bigint NOT NULL DEFAULT 0,
  -- How many bytes it is to have, where the sender has said so.
  size_bytes    bigint,
  -- All bytes are there and hash to this: what is left is to look at them.
  sha256        text,
  writer        uuid,
  writer_until  timestamptz,
  updated_at    timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((writer IS NULL) = (writer_until IS NULL))
);

-- What the image store holds of an image, whole or not: this counts against the quota.
ALTER TABLE images ADD stored_bytes bigint NOT NULL DEFAULT 0;
UPDATE images SET stored_bytes = coalesce(size_bytes, 0);

DROP TRIGGER images_within_quota ON images;

CREATE OR REPLACE FUNCTION images_within_quota() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  more_bytes bigint := NEW.stored_bytes - coalesce(OLD.stored_bytes, 0);
  used record;
BEGIN
  IF TG_OP = 'UPDATE' AND more_bytes <= 0 THEN RETURN NULL; END IF;
  PERFORM aloft_hold_usage(NEW.project_id);
  SELECT count(*) AS images, coalesce(sum(stored_bytes), 0) AS bytes INTO used
    FROM images WHERE project_id = NEW.project_id;
  IF TG_OP = 'INSERT' THEN PERFORM aloft_within_quota(NEW.project_id, 'images', used.images - 1, 1); END IF;
  PERFORM aloft_within_quota(NEW.project_id, 'image_bytes', (used.bytes - more_bytes)::bigint, more_bytes);
  RETURN NULL;
END $$;

CREATE TRIGGER images_within_quota AFTER INSERT OR UPDATE OF stored_bytes ON images
  FOR EACH ROW EXECUTE FUNCTION images_within_quota();
