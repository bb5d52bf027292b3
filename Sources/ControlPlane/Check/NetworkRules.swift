import Postgres

/// What must hold of networks, subnets, addresses, NICs and security groups, and no constraint of the database says.
enum NetworkRules {
  static let rules: [(String, SQL)] = [
    (
      "no two subnets of a network overlap",
      """
      SELECT format('network %s: %s and %s', a.network_id, a.cidr, b.cidr)
        FROM subnets a JOIN subnets b ON b.network_id = a.network_id AND a.id < b.id AND a.cidr && b.cidr
      """
    ),
    (
      "a subnet gives out addresses of its own block, but for those with a meaning",
      """
      SELECT format('subnet %s (%s): %s addresses from %s on', s.id, s.cidr, p.size, p.first)
        FROM subnets s CROSS JOIN LATERAL unnest(s.pool_first, s.pool_size) p (first, size)
       WHERE CASE
         WHEN p.size < 1 OR NOT p.first << s.cidr
           OR p.size > power(2::numeric, CASE family(s.cidr) WHEN 4 THEN 32 ELSE 128 END - masklen(s.cidr)) THEN true
         ELSE NOT p.first + (p.size - 1) << s.cidr
           OR coalesce(s.gateway BETWEEN p.first AND p.first + (p.size - 1), false)
           OR coalesce(s.metadata_address BETWEEN p.first AND p.first + (p.size - 1), false)
         END
      """
    ),
    (
      "every address is of its subnet",
      """
      SELECT format('%s in subnet %s, which is %s', a.address, s.id, s.cidr)
        FROM addresses a JOIN subnets s ON s.id = a.subnet_id WHERE NOT a.address << s.cidr
      """
    ),
    (
      "nobody has an address with a meaning of its own, but a router the gateway's",
      """
      SELECT format('%s in subnet %s (%s)', a.address, s.id, s.cidr)
        FROM addresses a JOIN subnets s ON s.id = a.subnet_id
       WHERE a.released_at IS NULL
         AND (a.address = s.metadata_address OR host(a.address) = host(network(s.cidr))
           OR family(a.address) = 4 AND host(a.address) = host(broadcast(s.cidr))
           OR a.address = s.gateway AND (a.router_id IS NULL OR s.project_id IS NULL))
      """
    ),
    (
      "an address that was given back is forgotten in the end",
      """
      SELECT format('%s in subnet %s, given back %s', address, subnet_id, released_at) FROM addresses
       WHERE released_at < aloft_now() - interval '1 day'
      """
    ),
    (
      "a NIC has addresses of its own network only, and at least one",
      """
      SELECT format('NIC %s: %s addresses, %s of another network', n.id, count(a.address),
                    count(*) FILTER (WHERE s.network_id <> n.network_id))
        FROM nics n LEFT JOIN addresses a ON a.nic_id = n.id LEFT JOIN subnets s ON s.id = a.subnet_id
       GROUP BY n.id
      HAVING count(a.address) = 0 OR count(*) FILTER (WHERE s.network_id <> n.network_id) > 0
      """
    ),
    (
      "a NIC that was deleted is looked after",
      """
      SELECT format('NIC %s of VM %s', n.id, n.vm_id) FROM nics n
       WHERE n.deleted_at < aloft_now() - interval '15 minutes'
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'vm' AND w.id = n.vm_id)
      """
    ),
    (
      "every project has its default security group",
      """
      SELECT format('project %s', p.id) FROM projects p
       WHERE NOT EXISTS (SELECT 1 FROM security_groups g WHERE g.project_id = p.id AND g.is_default)
      """
    ),
    ("what is connected is of one project, or leads outside", ofOneProject),
  ]

  /// Pairs of owners that must be the same. What is outside has none.
  private static let ofOneProject: SQL = """
    SELECT format('%s %s: project %s beside %s', p.word, p.id, coalesce(p.owner::text, 'none'), coalesce(p.other::text, 'none'))
      FROM (
        SELECT 'subnet' AS word, s.id, s.project_id AS owner, w.project_id AS other
          FROM subnets s JOIN networks w ON w.id = s.network_id
         UNION ALL SELECT 'NIC', n.id, n.project_id, w.project_id FROM nics n JOIN networks w ON w.id = n.network_id
         UNION ALL SELECT 'NIC', n.id, n.project_id, v.project_id FROM nics n JOIN vms v ON v.id = n.vm_id
         UNION ALL SELECT 'NIC', n.id, n.project_id, g.project_id
          FROM nics n JOIN nic_security_groups m ON m.nic_id = n.id JOIN security_groups g ON g.id = m.group_id
         UNION ALL SELECT 'security group', g.id, g.project_id, o.project_id
          FROM security_group_rules r JOIN security_groups g ON g.id = r.group_id
          JOIN security_groups o ON o.id = r.remote_group_id
         UNION ALL SELECT 'router', r.id, r.project_id, s.project_id
          FROM router_interfaces i JOIN routers r ON r.id = i.router_id JOIN subnets s ON s.id = i.subnet_id
         UNION ALL SELECT 'router', r.id, NULL, w.project_id FROM routers r JOIN networks w ON w.id = r.external_network_id
         UNION ALL SELECT 'floating IP', f.id, NULL, w.project_id
          FROM floating_ips f JOIN networks w ON w.id = f.network_id
         UNION ALL SELECT 'floating IP', f.id, f.project_id, n.project_id FROM floating_ips f JOIN nics n ON n.id = f.nic_id
         UNION ALL SELECT 'load balancer', l.id, l.project_id, s.project_id
          FROM load_balancers l JOIN subnets s ON s.id = l.subnet_id
         UNION ALL SELECT 'load balancer', l.id, l.project_id, s.project_id
          FROM load_balancer_members m JOIN load_balancers l ON l.id = m.load_balancer_id JOIN subnets s ON s.id = m.subnet_id
         UNION ALL SELECT 'load balancer', l.id, l.project_id, n.project_id
          FROM load_balancer_members m JOIN load_balancers l ON l.id = m.load_balancer_id JOIN nics n ON n.id = m.nic_id
         UNION ALL SELECT 'peering', p.id, p.project_id, w.project_id
          FROM network_peerings p JOIN networks w ON w.id IN (p.network_id, p.peer_network_id)
         UNION ALL SELECT 'peering', p.id, p.project_id, r.project_id
          FROM network_peerings p JOIN routers r ON r.id IN (p.router_id, p.peer_router_id)) p
     WHERE p.owner IS DISTINCT FROM p.other
    """
}
