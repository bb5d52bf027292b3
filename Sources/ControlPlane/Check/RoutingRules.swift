import Postgres

/// What must hold of routers, floating IPs, load balancers and peerings, and no constraint of the database says.
enum RoutingRules {
  static let rules: [(String, SQL)] = [
    (
      "a router has one port in each of its networks",
      """
      SELECT format('router %s: %s subnets of network %s, %s MAC addresses', i.router_id, count(*), s.network_id,
                    count(DISTINCT i.mac))
        FROM router_interfaces i JOIN subnets s ON s.id = i.subnet_id
       GROUP BY i.router_id, s.network_id
      HAVING count(DISTINCT i.mac) > 1 OR bool_or(i.network_id <> s.network_id)
      """
    ),
    (
      "a router has the gateway's address in each of its subnets",
      """
      SELECT format('router %s in subnet %s: %s', i.router_id, s.id, s.gateway)
        FROM router_interfaces i JOIN subnets s ON s.id = i.subnet_id
       WHERE NOT EXISTS (SELECT 1 FROM addresses a
                          WHERE (a.subnet_id, a.address, a.router_id) = (s.id, s.gateway, i.router_id))
      """
    ),
    (
      "a router has addresses in its subnets and where it leads out, and nowhere else",
      """
      SELECT format('router %s: %s in subnet %s', r.id, a.address, s.id)
        FROM addresses a JOIN routers r ON r.id = a.router_id JOIN subnets s ON s.id = a.subnet_id
       WHERE s.network_id IS DISTINCT FROM r.external_network_id
         AND NOT EXISTS (SELECT 1 FROM router_interfaces i
                          WHERE (i.subnet_id, i.router_id) = (s.id, r.id) AND a.address = s.gateway)
      """
    ),
    (
      "a router that leads out has an address there, one of each family at most",
      """
      SELECT format('router %s on external network %s: %s IPv4, %s IPv6', r.id, r.external_network_id,
                    count(*) FILTER (WHERE family(a.address) = 4), count(*) FILTER (WHERE family(a.address) = 6))
        FROM routers r
        LEFT JOIN (addresses a JOIN subnets s ON s.id = a.subnet_id)
          ON a.router_id = r.id AND s.network_id = r.external_network_id
       WHERE r.external_network_id IS NOT NULL
       GROUP BY r.id
      HAVING count(a.address) = 0 OR count(*) FILTER (WHERE family(a.address) = 4) > 1
          OR count(*) FILTER (WHERE family(a.address) = 6) > 1
      """
    ),
    (
      "no two subnets that a router reaches overlap",
      """
      WITH reached AS (
        SELECT r.id AS router, w.subnet_id, w.cidr FROM routers r CROSS JOIN LATERAL (
          SELECT subnet_id, cidr FROM aloft_routed_subnets(r.id)
           UNION
          SELECT s.id, s.cidr FROM addresses a JOIN subnets s ON s.id = a.subnet_id
           WHERE a.router_id = r.id AND s.network_id = r.external_network_id) w)
      SELECT format('router %s: %s and %s', a.router, a.cidr, b.cidr)
        FROM reached a JOIN reached b ON b.router = a.router AND a.subnet_id < b.subnet_id AND a.cidr && b.cidr
      """
    ),
    (
      "a router's routes lead by its neighbours",
      """
      SELECT format('router %s: to %s by %s', r.id, t ->> 'destination', t ->> 'next_hop')
        FROM routers r CROSS JOIN LATERAL jsonb_array_elements(r.routes) t
       WHERE NOT EXISTS (SELECT 1 FROM addresses a JOIN subnets s ON s.id = a.subnet_id
                          WHERE a.router_id = r.id AND (t ->> 'next_hop')::inet << s.cidr)
      """
    ),
    (
      "a floating IP has one address, of its external network",
      """
      SELECT format('floating IP %s: %s addresses', f.id, count(a.address))
        FROM floating_ips f LEFT JOIN addresses a ON a.floating_ip_id = f.id LEFT JOIN subnets s ON s.id = a.subnet_id
       GROUP BY f.id
      HAVING count(a.address) <> 1 OR bool_or(s.network_id <> f.network_id OR family(a.address) <> 4)
      """
    ),
    (
      "a floating IP leads to an address of its NIC, by a router that leads out to its network",
      """
      SELECT format('floating IP %s to NIC %s by router %s', f.id, f.nic_id, r.id)
        FROM floating_ips f JOIN router_interfaces i ON i.subnet_id = f.subnet_id JOIN routers r ON r.id = i.router_id
       WHERE r.external_network_id IS DISTINCT FROM f.network_id
          OR NOT EXISTS (SELECT 1 FROM addresses a
                          WHERE (a.nic_id, a.subnet_id) = (f.nic_id, f.subnet_id) AND family(a.address) = 4)
      """
    ),
    (
      "a load balancer has its address",
      """
      SELECT format('load balancer %s: %s in subnet %s', l.id, l.address, l.subnet_id)
        FROM load_balancers l JOIN subnets s ON s.id = l.subnet_id
       WHERE s.network_id <> l.network_id
          OR NOT EXISTS (SELECT 1 FROM addresses a
                          WHERE (a.subnet_id, a.address, a.load_balancer_id) = (l.subnet_id, l.address, l.id))
      """
    ),
    (
      "a load balancer has one more address where it tries members",
      """
      SELECT format('load balancer %s in subnet %s: %s', w.id, w.subnet_id, w.count) FROM (
        SELECT l.id, s.subnet_id, s.needed, (
                 SELECT count(*) FROM addresses a WHERE a.load_balancer_id = l.id AND a.subnet_id = s.subnet_id
                    AND (a.subnet_id, a.address) <> (l.subnet_id, l.address)) AS count
          FROM load_balancers l CROSS JOIN LATERAL (
            SELECT b.subnet_id, bool_or(b.needed) AS needed FROM (
              SELECT m.subnet_id, true AS needed
                FROM load_balancer_members m JOIN load_balancer_listeners n USING (load_balancer_id, protocol, port)
               WHERE m.load_balancer_id = l.id AND n.health_check IS NOT NULL
               UNION ALL
              SELECT subnet_id, false FROM addresses WHERE load_balancer_id = l.id) b
             GROUP BY b.subnet_id) s) w
       WHERE w.count > 1 OR w.needed AND w.count = 0
      """
    ),
    (
      "a load balancer reaches its members",
      """
      SELECT format('load balancer %s: %s in subnet %s', l.id, coalesce(m.address::text, 'NIC ' || m.nic_id), m.subnet_id)
        FROM load_balancer_members m JOIN load_balancers l ON l.id = m.load_balancer_id JOIN subnets s ON s.id = m.subnet_id
       WHERE family(s.cidr) <> family(l.address)
          OR m.address IS NOT NULL AND NOT m.address << s.cidr
          OR m.nic_id IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM addresses a WHERE (a.nic_id, a.subnet_id) = (m.nic_id, m.subnet_id))
          OR s.network_id <> l.network_id AND NOT EXISTS (
               SELECT 1 FROM router_interfaces i JOIN router_interfaces o ON o.router_id = i.router_id
                WHERE i.subnet_id = l.subnet_id AND o.subnet_id = m.subnet_id)
      """
    ),
    (
      "a peering's routers are in its networks",
      """
      SELECT format('peering %s: router %s, network %s', p.id, e.router_id, e.network_id)
        FROM network_peerings p CROSS JOIN LATERAL (
          VALUES (p.router_id, p.network_id), (p.peer_router_id, p.peer_network_id)) e (router_id, network_id)
       WHERE NOT EXISTS (SELECT 1 FROM router_interfaces i
                          WHERE (i.router_id, i.network_id) = (e.router_id, e.network_id))
      """
    ),
    (
      "no two peerings of a router have one block for their links",
      """
      SELECT format('peerings %s and %s: %s', p.id, o.id, p.link)
        FROM network_peerings p JOIN network_peerings o ON o.id > p.id AND o.link = p.link
         AND (p.router_id IN (o.router_id, o.peer_router_id) OR p.peer_router_id IN (o.router_id, o.peer_router_id))
      """
    ),
  ]
}
