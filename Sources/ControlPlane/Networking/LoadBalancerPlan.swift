import AloftModel
import IPAddressing
import JSON

/// What a load balancer is to listen on, with every default filled in and every contradiction refused. Pure.
enum LoadBalancerPlan {
  struct Listener: Sendable, Decodable {
    var `protocol`: ListenerProtocol
    var port: Int
    var members: [Member]?
    var healthCheck: HealthCheck?
  }

  /// Where connections go: a NIC or an address.
  struct Member: Sendable, Decodable, Hashable {
    var nic: String?
    var address: String?
    var port: Int
  }

  /// How members are tried. Defaults as OVN's.
  struct HealthCheck: Sendable, Codable, JSONWritable {
    var intervalSeconds: Int?
    var timeoutSeconds: Int?
    var failures: Int?
    var successes: Int?

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.field("interval_seconds", intervalSeconds ?? 5)
        writer.field("timeout_seconds", timeoutSeconds ?? 20)
        writer.field("failures", failures ?? 3)
        writer.field("successes", successes ?? 3)
      }
    }
  }

  /// Refuses listeners that contradict each other or themselves.
  static func check(_ listeners: [Listener], isIPv6: Bool) throws {
    var ports: [String: Int] = [:]
    for (index, listener) in listeners.enumerated() {
      let place = "/listeners/\(index)"
      let port = "\(listener.protocol.rawValue) \(listener.port)"
      if let first = ports.updateValue(index, forKey: port) {
        throw Problem.field(
          .duplicateItem, place + "/port", "listener \(first) is that of \(port) already; leave one of them out")
      }
      if isIPv6, listener.healthCheck != nil {
        throw Problem.field(
          .outOfRange, place + "/health_check", "members can be tried by IPv4 only; leave it out, or use an IPv4 subnet"
        )
      }
      try check(listener.members ?? [], at: place + "/members")
    }
  }

  private static func check(_ members: [Member], at pointer: String) throws {
    var seen: [Member: Int] = [:]
    for (index, member) in members.enumerated() {
      let place = "\(pointer)/\(index)"
      guard (member.nic == nil) != (member.address == nil) else {
        throw member.nic == nil
          ? Problem.field(.missingField, place + "/nic", "a member needs its NIC or its address")
          : Problem.field(.outOfRange, place + "/address", "a member is a NIC or an address; leave one of both out")
      }
      if let first = seen.updateValue(index, forKey: member) {
        throw Problem.field(.duplicateItem, place, "it is the same as member \(first); leave one of them out")
      }
    }
  }
}
