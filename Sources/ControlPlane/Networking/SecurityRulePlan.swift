import AloftModel
import IPAddressing

/// What a rule of a security group is to be, with every default filled in and every contradiction refused. Pure.
struct SecurityRulePlan: Sendable, Hashable {
  /// The other end.
  enum Remote: Sendable, Hashable {
    case anybody
    case block(AddressBlock)
    /// A group, as somebody refers to it.
    case group(String)
  }

  /// As it comes from a caller.
  struct Wish: Sendable, Decodable {
    var direction: TrafficDirection
    var ipVersion: Int?
    var `protocol`: RuleProtocol?
    var port: Int?
    var firstPort: Int?
    var lastPort: Int?
    var icmpType: Int?
    var icmpCode: Int?
    var remote: String?
  }

  var direction: TrafficDirection
  var ipVersion: Int
  var `protocol`: RuleProtocol
  var ports: ClosedRange<Int>?
  var icmpType: Int?
  var icmpCode: Int?
  var remote: Remote

  /// `pointer` is where the rule stands in the body.
  init(_ wish: Wish, at pointer: String = "") throws {
    direction = wish.direction
    `protocol` = wish.protocol ?? .any
    remote = try Self.remote(wish.remote, at: pointer)
    if case .block(let block) = remote {
      ipVersion = block.isIPv6 ? 6 : 4
      if let wanted = wish.ipVersion, wanted != ipVersion {
        throw Problem.field(
          .badFormat, pointer + "/remote", "\(block) is no block of IPv\(wanted); change ip_version or the block")
      }
    } else {
      ipVersion = wish.ipVersion ?? 4
    }
    ports = try Self.ports(wish, at: pointer)
    (icmpType, icmpCode) = try Self.icmp(wish, at: pointer)
  }

  /// The rules of one body, no two of which are the same.
  static func list(_ wishes: [Wish]) throws -> [SecurityRulePlan] {
    var plans: [SecurityRulePlan] = []
    for (index, wish) in wishes.enumerated() {
      let plan = try SecurityRulePlan(wish, at: "/rules/\(index)")
      if let first = plans.firstIndex(of: plan) {
        throw Problem.field(.duplicateItem, "/rules/\(index)", "it is the same as rule \(first); leave one of them out")
      }
      plans.append(plan)
    }
    return plans
  }

  /// Names are without the characters that every address has one of.
  private static func remote(_ text: String?, at pointer: String) throws -> Remote {
    guard let text else { return .anybody }
    guard text.contains(where: { ".:/".contains($0) }) else { return .group(text) }
    return .block(try AddressBlock.parse(text, at: pointer + "/remote"))
  }

  private static func ports(_ wish: Wish, at pointer: String) throws -> ClosedRange<Int>? {
    let given: [(String, Int?)] = [("port", wish.port), ("first_port", wish.firstPort), ("last_port", wish.lastPort)]
    guard let first = given.first(where: { $0.1 != nil }) else { return nil }
    let place = "\(pointer)/\(first.0)"
    switch wish.protocol ?? .any {
    case .tcp, .udp: break
    case .icmp: throw Problem.field(.outOfRange, place, "icmp has no ports; leave them out, or say icmp_type")
    case .any: throw Problem.field(.outOfRange, place, "only tcp and udp have ports; say one of them as protocol")
    }
    if let port = wish.port {
      guard wish.firstPort == nil, wish.lastPort == nil else {
        throw Problem.field(
          .outOfRange, place, "port is for one port, first_port and last_port for several; say one of both")
      }
      return port...port
    }
    guard let low = wish.firstPort else {
      throw Problem.field(
        .missingField, pointer + "/first_port", "last_port needs first_port, or say port for one alone")
    }
    let high = wish.lastPort ?? low
    guard low <= high else {
      throw Problem.field(.outOfRange, pointer + "/last_port", "the last port \(high) is before the first, \(low)")
    }
    return low...high
  }

  private static func icmp(_ wish: Wish, at pointer: String) throws -> (type: Int?, code: Int?) {
    guard wish.icmpType != nil || wish.icmpCode != nil else { return (nil, nil) }
    let place = pointer + (wish.icmpType == nil ? "/icmp_code" : "/icmp_type")
    guard wish.protocol == .icmp else {
      throw Problem.field(.outOfRange, place, "only icmp has types and codes; leave them out, or say icmp as protocol")
    }
    guard let type = wish.icmpType else {
      throw Problem.field(
        .missingField, pointer + "/icmp_type", "a code has a meaning for its icmp_type only; say both")
    }
    return (type, wish.icmpCode)
  }
}
