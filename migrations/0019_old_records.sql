-- What the janitor looks for: ended operations and audit records that have had their time.
CREATE INDEX operations_finished ON operations (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX audit_by_time ON audit (at);
