-- The default group lets everything out, and in what comes from its own members. Ids follow from the project's.
CREATE FUNCTION aloft_default_security_group(project uuid) RETURNS void LANGUAGE sql AS $$
  INSERT INTO security_groups (id, project_id, name, is_default)
  VALUES (md5('security group of ' || project)::uuid, project, 'default', true);
  INSERT INTO security_group_rules (id, group_id, direction, ip_version, protocol, remote_group_id)
  SELECT md5(format('%s IPv%s of %s', d, v, project))::uuid, md5('security group of ' || project)::uuid, d, v, 'any',
         CASE d WHEN 'ingress' THEN md5('security group of ' || project)::uuid END
    FROM unnest(ARRAY['ingress', 'egress']) d, unnest(ARRAY[4, 6]) v
$$;

SELECT aloft_default_security_group(id) FROM projects;

CREATE FUNCTION projects_get_security_group() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM aloft_default_security_group(NEW.id);
  RETURN NULL;
END $$;

CREATE TRIGGER projects_get_security_group AFTER INSERT ON projects
  FOR EACH ROW EXECUTE FUNCTION projects_get_security_group();

-- The default group comes with its project: it is no use of a quota.
CREATE TRIGGER security_groups_within_quota AFTER INSERT ON security_groups
  FOR EACH ROW WHEN (NOT NEW.is_default) EXECUTE FUNCTION rows_within_quota('security_groups');
