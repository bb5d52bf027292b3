import AloftModel
import IPAddressing

extension NetworkModel {
  /// What is let through to and from the NICs that are in it. Answers to what was let through pass by themselves.
  public struct SecurityGroup: Sendable, Hashable {
    public var id: SecurityGroupID
    public var project: ProjectID
    public var rules: [Rule]

    public init(id: SecurityGroupID, project: ProjectID, rules: [Rule] = []) {
      self.id = id
      self.project = project
      self.rules = rules
    }

    public struct Rule: Sendable, Hashable {
      public var id: SecurityGroupRuleID
      public var direction: Direction
      public var ipVersion: IPVersion
      public var `protocol`: TransportProtocol
      /// The destination's; of TCP, UDP and SCTP only. Nil: all.
      public var ports: ClosedRange<UInt16>?
      public var remote: Remote

      public init(
        id: SecurityGroupRuleID, direction: Direction, ipVersion: IPVersion, protocol: TransportProtocol = .any,
        ports: ClosedRange<UInt16>? = nil, remote: Remote = .any
      ) {
        self.id = id
        self.direction = direction
        self.ipVersion = ipVersion
        self.protocol = `protocol`
        self.ports = ports
        self.remote = remote
      }
    }

    public enum Direction: String, Sendable, Hashable, CaseIterable {
      /// To the guest.
      case ingress
      /// From the guest.
      case egress
    }

    public enum IPVersion: Int, Sendable, Hashable, CaseIterable {
      case v4 = 4
      case v6 = 6
    }

    /// What stands above IP.
    public enum TransportProtocol: Sendable, Hashable {
      case any
      case tcp
      case udp
      /// ICMP of the rule's IP version; nil: any type, any code.
      case icmp(type: UInt8?, code: UInt8?)
    }

    /// The other end.
    public enum Remote: Sendable, Hashable {
      case any
      /// Of the rule's IP version, or the rule lets nothing through.
      case block(AddressBlock)
      /// Every NIC in the group.
      case group(SecurityGroupID)
    }
  }
}
