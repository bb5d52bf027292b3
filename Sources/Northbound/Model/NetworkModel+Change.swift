import AloftModel
import Foundation

extension NetworkModel {
  /// One object of the model.
  public enum Object: Sendable, Hashable {
    case network(Network)
    case externalNetwork(ExternalNetwork)
    case nic(NIC)
    case router(Router)
    case securityGroup(SecurityGroup)
    case floatingIP(FloatingIP)
    case loadBalancer(LoadBalancer)
    case peering(Peering)

    public var id: ObjectID {
      switch self {
      case .network(let object): .network(object.id)
      case .externalNetwork(let object): .externalNetwork(object.id)
      case .nic(let object): .nic(object.id)
      case .router(let object): .router(object.id)
      case .securityGroup(let object): .securityGroup(object.id)
      case .floatingIP(let object): .floatingIP(object.id)
      case .loadBalancer(let object): .loadBalancer(object.id)
      case .peering(let object): .peering(object.id)
      }
    }
  }

  /// What names an object of any kind. Its description is the id's text form.
  public enum ObjectID: Sendable, Hashable, CustomStringConvertible {
    case network(NetworkID)
    case externalNetwork(ExternalNetworkID)
    case nic(NICID)
    case router(RouterID)
    case securityGroup(SecurityGroupID)
    case floatingIP(FloatingIPID)
    case loadBalancer(LoadBalancerID)
    case peering(NetworkPeeringID)

    public var uuid: UUID {
      switch self {
      case .network(let id): id.uuid
      case .externalNetwork(let id): id.uuid
      case .nic(let id): id.uuid
      case .router(let id): id.uuid
      case .securityGroup(let id): id.uuid
      case .floatingIP(let id): id.uuid
      case .loadBalancer(let id): id.uuid
      case .peering(let id): id.uuid
      }
    }

    /// Reads the text form of an id of any of these kinds.
    init?(_ text: String) {
      if let id = NetworkID(text) {
        self = .network(id)
      } else if let id = NICID(text) {
        self = .nic(id)
      } else if let id = RouterID(text) {
        self = .router(id)
      } else if let id = SecurityGroupID(text) {
        self = .securityGroup(id)
      } else if let id = FloatingIPID(text) {
        self = .floatingIP(id)
      } else if let id = LoadBalancerID(text) {
        self = .loadBalancer(id)
      } else if let id = NetworkPeeringID(text) {
        self = .peering(id)
      } else if let id = ExternalNetworkID(text) {
        self = .externalNetwork(id)
      } else {
        return nil
      }
    }

    public var description: String {
      switch self {
      case .network(let id): id.description
      case .externalNetwork(let id): id.description
      case .nic(let id): id.description
      case .router(let id): id.description
      case .securityGroup(let id): id.description
      case .floatingIP(let id): id.description
      case .loadBalancer(let id): id.description
      case .peering(let id): id.description
      }
    }
  }

  /// One object is new or different, or gone.
  public enum Change: Sendable, Hashable {
    /// Also for what has not changed: then it changes nothing.
    case put(Object)
    /// Also for what was not there.
    case remove(ObjectID)

    public var id: ObjectID {
      switch self {
      case .put(let object): object.id
      case .remove(let id): id
      }
    }
  }
}
