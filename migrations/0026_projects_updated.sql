ALTER TABLE projects ADD updated_at timestamptz NOT NULL DEFAULT aloft_now();

UPDATE projects SET updated_at = created_at;
