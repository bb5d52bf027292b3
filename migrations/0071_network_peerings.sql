-- A link between the routers of two networks of a project.
CREATE TABLE network_peerings (
  id              uuid PRIMARY KEY,
  project_id      uuid NOT NULL REFERENCES projects,
  name            text NOT NULL,
  labels          jsonb NOT NULL DEFAULT '{}',
  network_id      uuid NOT NULL REFERENCES networks,
  router_id       uuid NOT NULL REFERENCES routers,
  mac             macaddr NOT NULL,
  peer_network_id uuid NOT NULL REFERENCES networks,
  peer_router_id  uuid NOT NULL REFERENCES routers,
  peer_mac        macaddr NOT NULL,
  -- Which of the blocks for links is its own among all links of both routers.
  link            integer NOT NULL CHECK (link BETWEEN 0 AND 8191),
  revision        bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at      timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK (network_id <> peer_network_id),
  CHECK (router_id <> peer_router_id)
);

CREATE UNIQUE INDEX network_peerings_name ON network_peerings (project_id, name);
CREATE UNIQUE INDEX network_peerings_pair ON network_peerings
  (least(network_id, peer_network_id), greatest(network_id, peer_network_id));
CREATE INDEX network_peerings_by_router ON network_peerings (router_id, network_id);
CREATE INDEX network_peerings_by_peer_router ON network_peerings (peer_router_id, peer_network_id);

CREATE TRIGGER network_peerings_tell AFTER INSERT OR UPDATE OR DELETE ON network_peerings
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('peering', 'id');

-- The blocks that a router has a way to, and by which peering: its own subnets, and those of networks that it is linked to.
CREATE FUNCTION aloft_routed_subnets(router uuid)
  RETURNS TABLE (subnet_id uuid, network_id uuid, cidr cidr, name text, peering_id uuid) LANGUAGE sql STABLE AS $$
  SELECT s.id, s.network_id, s.cidr, s.name, NULL::uuid
    FROM router_interfaces i JOIN subnets s ON s.id = i.subnet_id WHERE i.router_id = router
   UNION ALL
  SELECT s.id, s.network_id, s.cidr, s.name, p.id
    FROM network_peerings p
    JOIN router_interfaces i ON (p.router_id = router AND i.router_id = p.peer_router_id AND i.network_id = p.peer_network_id)
                             OR (p.peer_router_id = router AND i.router_id = p.router_id AND i.network_id = p.network_id)
    JOIN subnets s ON s.id = i.subnet_id
   WHERE router IN (p.router_id, p.peer_router_id)
$$;

-- What the other side reaches follows from a network's subnets that its router has.
CREATE FUNCTION router_interfaces_tell_peerings() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed router_interfaces := coalesce(NEW, OLD);
BEGIN
  INSERT INTO network_changes (kind, id)
  SELECT 'peering', id FROM network_peerings
   WHERE (router_id, network_id) = (changed.router_id, changed.network_id)
      OR (peer_router_id, peer_network_id) = (changed.router_id, changed.network_id);
  RETURN NULL;
END $$;

CREATE TRIGGER router_interfaces_tell_peerings AFTER INSERT OR DELETE ON router_interfaces
  FOR EACH ROW EXECUTE FUNCTION router_interfaces_tell_peerings();
