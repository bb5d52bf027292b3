-- What aloftd runs as need not be who owns the tables: it can add to the audit, and nothing else.
CREATE TABLE audit_retention (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  days     integer NOT NULL DEFAULT 400 CHECK (days > 0)
);

INSERT INTO audit_retention DEFAULT VALUES;

-- Removes records that have had their time, at most so many; the number of those. With the rights of the owner: whoever may
-- only add can let go what is old, and does not say what is. The time is never ahead of the machine's, whatever `aloft.now` says.
CREATE FUNCTION aloft_forget_audit(most integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
  SET search_path FROM CURRENT AS $$
DECLARE
  removed integer;
BEGIN
  DELETE FROM audit WHERE id IN (
    SELECT id FROM audit
     WHERE at < least(aloft_now(), clock_timestamp()) - make_interval(days => (SELECT days FROM audit_retention))
     ORDER BY at LIMIT most FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END $$;

-- Lets a role run aloftd on this database, now and after later migrations by the same owner.
CREATE FUNCTION aloft_grant_use(role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I', current_schema, role);
  EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO %I', current_schema, role);
  EXECUTE format(
    'ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', current_schema, role);
  EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT USAGE, SELECT ON SEQUENCES TO %I', current_schema, role);
  EXECUTE format('REVOKE UPDATE, DELETE ON audit FROM %I', role);
  EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON audit_retention, schema_migrations FROM %I', role);
END $$;
