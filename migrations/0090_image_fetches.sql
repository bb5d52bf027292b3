-- Contents that the control plane fetches by itself. The image's open operation is what is told about it.
CREATE TABLE image_fetches (
  image_id   uuid PRIMARY KEY REFERENCES images ON DELETE CASCADE,
  url        text NOT NULL,
  -- What the server calls the content that is being fetched: without it nothing can be gone on with.
  validator  text,
  -- Attempts in a row that brought nothing.
  failures   integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT aloft_now()
);
