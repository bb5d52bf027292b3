import AloftModel

/// All that OVN has to know of the cloud's networks. Objects refer to each other by id; what refers to an object that is not
/// here is passed over until it is.
public struct NetworkModel: Sendable, Hashable {
  public internal(set) var networks: [NetworkID: Network] = [:]
  public internal(set) var externalNetworks: [ExternalNetworkID: ExternalNetwork] = [:]
  public internal(set) var nics: [NICID: NIC] = [:]
  public internal(set) var routers: [RouterID: Router] = [:]
  public internal(set) var securityGroups: [SecurityGroupID: SecurityGroup] = [:]
  public internal(set) var floatingIPs: [FloatingIPID: FloatingIP] = [:]
  public internal(set) var loadBalancers: [LoadBalancerID: LoadBalancer] = [:]
  public internal(set) var peerings: [NetworkPeeringID: Peering] = [:]

  /// An empty cloud.
  public init() {}

  /// The cloud of these objects; of two with the same id the later counts.
  public init(_ objects: some Sequence<Object>) {
    for object in objects { apply(.put(object)) }
  }

  /// Puts an object in place of the one with its id, or takes one away.
  public mutating func apply(_ change: Change) {
    let id = change.id
    switch id {
    case .network(let id): networks[id] = if case .put(.network(let new)) = change { new } else { nil }
    case .externalNetwork(let id):
      externalNetworks[id] = if case .put(.externalNetwork(let new)) = change { new } else { nil }
    case .nic(let id): nics[id] = if case .put(.nic(let new)) = change { new } else { nil }
    case .router(let id): routers[id] = if case .put(.router(let new)) = change { new } else { nil }
    case .securityGroup(let id):
      securityGroups[id] = if case .put(.securityGroup(let new)) = change { new } else { nil }
    case .floatingIP(let id): floatingIPs[id] = if case .put(.floatingIP(let new)) = change { new } else { nil }
    case .loadBalancer(let id): loadBalancers[id] = if case .put(.loadBalancer(let new)) = change { new } else { nil }
    case .peering(let id): peerings[id] = if case .put(.peering(let new)) = change { new } else { nil }
    }
  }

  /// The object of that id.
  public subscript(id: ObjectID) -> Object? {
    switch id {
    case .network(let id): networks[id].map(Object.network)
    case .externalNetwork(let id): externalNetworks[id].map(Object.externalNetwork)
    case .nic(let id): nics[id].map(Object.nic)
    case .router(let id): routers[id].map(Object.router)
    case .securityGroup(let id): securityGroups[id].map(Object.securityGroup)
    case .floatingIP(let id): floatingIPs[id].map(Object.floatingIP)
    case .loadBalancer(let id): loadBalancers[id].map(Object.loadBalancer)
    case .peering(let id): peerings[id].map(Object.peering)
    }
  }

  /// The ids of all objects.
  public var ids: [ObjectID] {
    networks.keys.map(ObjectID.network) + externalNetworks.keys.map(ObjectID.externalNetwork)
      + nics.keys.map(ObjectID.nic) + routers.keys.map(ObjectID.router)
      + securityGroups.keys.map(ObjectID.securityGroup) + floatingIPs.keys.map(ObjectID.floatingIP)
      + loadBalancers.keys.map(ObjectID.loadBalancer) + peerings.keys.map(ObjectID.peering)
  }
}
