-- A token acts for a user: with all that the user may, or in one project only and there with at most that role.
-- Tokens from before were admins'. `role` is no longer read.
ALTER TABLE api_tokens
  ADD user_id      uuid NOT NULL DEFAULT '01900000-0000-7000-8000-000000000003' REFERENCES users ON DELETE CASCADE,
  ADD project_id   uuid REFERENCES projects ON DELETE CASCADE,
  ADD project_role text CHECK (project_role IN ('viewer', 'member', 'admin')),
  ADD last_used_at timestamptz,
  ADD revision     bigint NOT NULL DEFAULT 1,
  ADD CHECK ((project_id IS NULL) = (project_role IS NULL)),
  ALTER role SET DEFAULT 'admin';

CREATE INDEX api_tokens_by_user ON api_tokens (user_id, id);
CREATE INDEX api_tokens_by_project ON api_tokens (project_id);
