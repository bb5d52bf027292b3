-- By which token, with what outcome, and what was asked.
ALTER TABLE audit
  ADD user_name text,
  ADD token_id  uuid,
  -- Why it was refused: a code of the closed list; NULL: it was accepted.
  ADD refusal   text,
  -- The body, with secrets masked.
  ADD request   jsonb;

CREATE INDEX audit_by_project ON audit (project_id, id);
CREATE INDEX audit_by_resource ON audit (resource_id, id);
