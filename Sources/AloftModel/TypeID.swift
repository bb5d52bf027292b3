import Foundation

/// What a ``TypeID`` names: a prefix, so that an id says by itself what it is.
public protocol TypeIDKind: Sendable {
  /// Lower-case letters in front of the underscore.
  static var prefix: String { get }
}

/// An id such as `vm_01h455vb4pex5vsknk084sn02q`: a prefix and a UUIDv7 in Crockford's base32
/// (TypeID specification 0.3). Ids of different kinds are different types, so they cannot be mixed up.
public struct TypeID<Kind: TypeIDKind>: Hashable, Sendable, Codable, CustomStringConvertible {
  /// The id as the database keeps it.
  public let uuid: UUID

  /// Wraps a UUID that is known to name a `Kind`.
  public init(_ uuid: UUID) { self.uuid = uuid }

  /// Reads the text form. Nil when the prefix is another one or the rest is not 128 bits in base32.
  public init?(_ text: String) {
    guard text.hasPrefix(Kind.prefix + "_"),
      let uuid = Base32.decode(text.utf8.dropFirst(Kind.prefix.utf8.count + 1))
    else { return nil }
    self.uuid = uuid
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let id = Self(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an id of the form \(Kind.prefix)_…")
    }
    self = id
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  public var description: String { Kind.prefix + "_" + Base32.encode(uuid) }
}

/// Names a project.
public enum ProjectKind: TypeIDKind { public static var prefix: String { "prj" } }
/// Names a user.
public enum UserKindTag: TypeIDKind { public static var prefix: String { "usr" } }
/// Names an API token.
public enum APITokenKind: TypeIDKind { public static var prefix: String { "tok" } }
/// Names a session of a browser.
public enum SessionKind: TypeIDKind { public static var prefix: String { "ses" } }
/// Names a virtual machine.
public enum VMKind: TypeIDKind { public static var prefix: String { "vm" } }
/// Names an image.
public enum ImageKind: TypeIDKind { public static var prefix: String { "img" } }
/// Names an operation.
public enum OperationKindTag: TypeIDKind { public static var prefix: String { "op" } }
/// Names a node.
public enum NodeKind: TypeIDKind { public static var prefix: String { "node" } }
/// Names a node pool.
public enum NodePoolKind: TypeIDKind { public static var prefix: String { "pool" } }
/// Names a join token.
public enum NodeTokenKind: TypeIDKind { public static var prefix: String { "ntok" } }
/// Names a one-time request to a VM.
public enum VMRequestKind: TypeIDKind { public static var prefix: String { "req" } }
/// Names a webhook.
public enum WebhookKind: TypeIDKind { public static var prefix: String { "whk" } }
/// Names an event on its way to a webhook.
public enum WebhookDeliveryKind: TypeIDKind { public static var prefix: String { "dlv" } }
/// Names a network.
public enum NetworkKind: TypeIDKind { public static var prefix: String { "net" } }
/// Names a subnet.
public enum SubnetKind: TypeIDKind { public static var prefix: String { "sub" } }
/// Names a network interface of a VM.
public enum NICKind: TypeIDKind { public static var prefix: String { "nic" } }
/// Names a router.
public enum RouterKind: TypeIDKind { public static var prefix: String { "rtr" } }
/// Names an external network.
public enum ExternalNetworkKind: TypeIDKind { public static var prefix: String { "ext" } }
/// Names a floating IP address.
public enum FloatingIPKind: TypeIDKind { public static var prefix: String { "fip" } }
/// Names a security group.
public enum SecurityGroupKind: TypeIDKind { public static var prefix: String { "sg" } }
/// Names a rule of a security group.
public enum SecurityGroupRuleKind: TypeIDKind { public static var prefix: String { "sgr" } }
/// Names a load balancer.
public enum LoadBalancerKind: TypeIDKind { public static var prefix: String { "lb" } }
/// Names a peering of two networks.
public enum NetworkPeeringKind: TypeIDKind { public static var prefix: String { "peer" } }
/// Names a storage pool.
public enum StoragePoolTag: TypeIDKind { public static var prefix: String { "spool" } }
/// Names a volume.
public enum VolumeKind: TypeIDKind { public static var prefix: String { "vol" } }
/// Names a snapshot of one or more volumes.
public enum SnapshotKind: TypeIDKind { public static var prefix: String { "snap" } }
/// Names a backup of a volume.
public enum BackupKind: TypeIDKind { public static var prefix: String { "bkp" } }
/// Names bytes that a node is asked to bring.
public enum StreamKind: TypeIDKind { public static var prefix: String { "str" } }

public typealias ProjectID = TypeID<ProjectKind>
public typealias UserID = TypeID<UserKindTag>
public typealias APITokenID = TypeID<APITokenKind>
public typealias SessionID = TypeID<SessionKind>
public typealias VMID = TypeID<VMKind>
public typealias ImageID = TypeID<ImageKind>
public typealias OperationID = TypeID<OperationKindTag>
public typealias NodeID = TypeID<NodeKind>
public typealias NodePoolID = TypeID<NodePoolKind>
public typealias NodeTokenID = TypeID<NodeTokenKind>
public typealias VMRequestID = TypeID<VMRequestKind>
public typealias WebhookID = TypeID<WebhookKind>
public typealias WebhookDeliveryID = TypeID<WebhookDeliveryKind>
public typealias NetworkID = TypeID<NetworkKind>
public typealias SubnetID = TypeID<SubnetKind>
public typealias NICID = TypeID<NICKind>
public typealias RouterID = TypeID<RouterKind>
public typealias ExternalNetworkID = TypeID<ExternalNetworkKind>
public typealias FloatingIPID = TypeID<FloatingIPKind>
public typealias SecurityGroupID = TypeID<SecurityGroupKind>
public typealias SecurityGroupRuleID = TypeID<SecurityGroupRuleKind>
public typealias LoadBalancerID = TypeID<LoadBalancerKind>
public typealias NetworkPeeringID = TypeID<NetworkPeeringKind>
public typealias StoragePoolID = TypeID<StoragePoolTag>
public typealias VolumeID = TypeID<VolumeKind>
public typealias SnapshotID = TypeID<SnapshotKind>
public typealias BackupID = TypeID<BackupKind>
public typealias StreamID = TypeID<StreamKind>

extension UUID {
  /// What an id of any kind names.
  public init?(typeID text: String) {
    guard let underscore = text.lastIndex(of: "_"),
      let uuid = Base32.decode(text[text.index(after: underscore)...].utf8)
    else { return nil }
    self = uuid
  }
}
