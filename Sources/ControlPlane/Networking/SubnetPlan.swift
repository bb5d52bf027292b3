import AloftModel
import Foundation
import IPAddressing

/// What a subnet is to be, with every default filled in and every contradiction refused. Pure.
///
/// Invariants:
/// - The pool holds no address that has a meaning of its own: network, broadcast, gateway, metadata port, reserved ranges.
/// - Everything is of the block's family, and inside of it where it must be.
struct SubnetPlan: Sendable, Equatable {
  /// A route that guests are told of.
  struct HostRoute: Sendable, Equatable, Codable {
    var destination: String
    var nextHop: String
  }

  /// As it comes from a caller.
  struct Wish: Sendable {
    enum Gateway: Sendable { case first, none, at(String) }

    var cidr: String
    var gateway = Gateway.first
    var configuration: SubnetConfiguration?
    var dnsServers: [String] = []
    var hostRoutes: [HostRoute] = []
    var pools: [String]?
    var reserved: [String] = []
    /// The subnet is of an external network: no guest is configured in it.
    var isExternal = false
  }

  var cidr: AddressBlock
  var gateway: IPAddress?
  var configuration: SubnetConfiguration
  var dnsServers: [IPAddress]
  var hostRoutes: [HostRoute]
  var reserved: [AddressRange]
  var metadataAddress: IPAddress?
  var pool: [AddressRange]

  /// How many addresses of a pool are given out at most: PostgreSQL counts in signed 64 bits.
  static let largestPool = 1 << 62

  init(_ wish: Wish) throws {
    let block = try Self.block(wish.cidr)
    cidr = block
    configuration = try Self.configuration(wish, of: block)
    gateway = try Self.gateway(wish, in: block)
    dnsServers = try wish.dnsServers.enumerated().map { try Self.address($1, of: block, at: "/dns_servers/\($0)") }
    guard wish.hostRoutes.isEmpty || (configuration == .dhcp && !block.isIPv6) else {
      throw Problem.field(
        .wrongState, "/host_routes", "guests in \(block) are not told of routes: only DHCP in IPv4 tells them")
    }
    hostRoutes = try wish.hostRoutes.enumerated().map { try Self.route($1, in: block, at: "/host_routes/\($0)") }
    reserved = try wish.reserved.enumerated().map { try Self.range($1, in: block, at: "/reserved/\($0)") }
    let pools = try wish.pools?.enumerated().map { try Self.range($1, in: block, at: "/pools/\($0)") }
    if let gateway, let index = pools?.firstIndex(where: { $0.contains(gateway) }) {
      throw Problem.field(
        .outOfRange, "/pools/\(index)", "the gateway \(gateway) is inside the pool; end or begin the pool beside it")
    }
    let usable = try Self.usable(cidr, at: "/cidr")
    let taken = reserved + [gateway].compactMap { $0 }.compactMap { AddressRange($0, $0) }
    if configuration == .dhcp, !cidr.isIPv6, !wish.isExternal {
      metadataAddress = Self.without(taken, [usable]).last?.last
      guard metadataAddress != nil else {
        throw Problem.field(.outOfRange, "/reserved", "nothing is left in \(cidr) for the metadata service")
      }
    }
    let meta = metadataAddress.flatMap { AddressRange($0, $0) }
    let offered = pools.map { Self.disjoint($0.compactMap { Self.common($0, usable) }) } ?? [usable]
    pool = Self.without(taken + [meta].compactMap { $0 }, offered)
    guard !pool.isEmpty else {
      throw Problem.field(
        .outOfRange, wish.pools == nil ? "/cidr" : "/pools", "no address is left to give out in \(cidr)")
    }
  }

  private static func block(_ text: String) throws -> AddressBlock {
    let block = try AddressBlock.parse(text, at: "/cidr")
    let lengths = block.isIPv6 ? 48...120 : 8...29
    guard lengths.contains(block.length) else {
      throw Problem.field(
        .outOfRange, "/cidr",
        "a subnet is between /\(lengths.lowerBound) and /\(lengths.upperBound), not /\(block.length)")
    }
    let special = [
      "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/16", "fe80::/10", "ff00::/8",
      PeeringLink.block6,
    ]
    if let meaning = special.compactMap({ AddressBlock($0) }).first(where: { $0.overlaps(block) }) {
      throw Problem.field(
        .outOfRange, "/cidr", "\(block) is in \(meaning), whose addresses have a meaning of their own")
    }
    return block
  }

  private static func configuration(_ wish: Wish, of block: AddressBlock) throws -> SubnetConfiguration {
    if wish.isExternal { return .none }
    let wanted = wish.configuration ?? (block.isIPv6 && block.length == 64 ? .slaac : .dhcp)
    if wanted == .slaac, !block.isIPv6 || block.length != 64 {
      throw Problem.field(
        .notOneOf, "/configuration", "guests configure themselves (slaac) in IPv6 subnets of /64 only")
    }
    return wanted
  }

  private static func gateway(_ wish: Wish, in block: AddressBlock) throws -> IPAddress? {
    switch wish.gateway {
    case .none: return nil
    case .first: return block.base.advanced(by: 1)
    case .at(let text):
      let address = try inside(text, block, at: "/gateway")
      guard address != block.base, block.isIPv6 || address != block.last else {
        throw Problem.field(.outOfRange, "/gateway", "\(address) means all of \(block), so it cannot be its gateway")
      }
      return address
    }
  }

  private static func usable(_ block: AddressBlock, at pointer: String) throws -> AddressRange {
    let first = block.base.advanced(by: 1)
    let last = block.isIPv6 ? block.last : block.last.predecessor
    guard let first, let last, let whole = AddressRange(first, last) else {
      throw Problem.field(.outOfRange, pointer, "\(block) has no address for anybody")
    }
    guard whole.count > largestPool, let end = first.advanced(by: UInt64(largestPool - 1)) else { return whole }
    return AddressRange(first, end) ?? whole
  }

  private static func address(_ text: String, of block: AddressBlock, at pointer: String) throws -> IPAddress {
    guard let address = IPAddress(text) else { throw Problem.field(.badFormat, pointer, "\(text) is no IP address") }
    guard address.isIPv6 == block.isIPv6 else {
      throw Problem.field(.badFormat, pointer, "\(address) is no IPv\(block.isIPv6 ? 6 : 4) address, as \(block) needs")
    }
    return address
  }

  private static func inside(_ text: String, _ block: AddressBlock, at pointer: String) throws -> IPAddress {
    let address = try address(text, of: block, at: pointer)
    guard block.contains(address) else {
      throw Problem.field(.outOfRange, pointer, "\(address) is outside of \(block)")
    }
    return address
  }

  private static func range(_ text: String, in block: AddressBlock, at pointer: String) throws -> AddressRange {
    guard let range = AddressRange(text) else {
      throw Problem.field(.badFormat, pointer, "\(text) is no range such as 10.0.0.10-10.0.0.20, nor an address")
    }
    guard block.contains(range.first), block.contains(range.last) else {
      throw Problem.field(.outOfRange, pointer, "\(range) is outside of \(block)")
    }
    return range
  }

  private static func route(_ route: HostRoute, in block: AddressBlock, at pointer: String) throws -> HostRoute {
    let destination = try AddressBlock.parse(route.destination, at: pointer + "/destination")
    guard destination.isIPv6 == block.isIPv6 else {
      throw Problem.field(
        .badFormat, pointer + "/destination", "\(destination) is not of the family of \(block)")
    }
    let hop = try inside(route.nextHop, block, at: pointer + "/next_hop")
    return HostRoute(destination: destination.description, nextHop: hop.description)
  }

  private static func without(_ taken: [AddressRange], _ ranges: [AddressRange]) -> [AddressRange] {
    taken.reduce(ranges.sorted { $0.first < $1.first }) { left, hole in left.flatMap { $0.subtracting(hole) } }
  }

  private static func disjoint(_ ranges: [AddressRange]) -> [AddressRange] {
    ranges.reduce(into: []) { parts, range in parts += without(parts, [range]) }
  }

  private static func common(_ a: AddressRange, _ b: AddressRange) -> AddressRange? {
    AddressRange(max(a.first, b.first), min(a.last, b.last))
  }
}

extension AddressBlock {
  /// A block as a caller writes it, or a refusal that names the place and the block that may be meant.
  static func parse(_ text: String, at pointer: String) throws -> AddressBlock {
    if let block = AddressBlock(text) { return block }
    let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
    if parts.count == 2, let address = IPAddress(parts[0]), let length = Int(parts[1]),
      let meant = AddressBlock(of: address, length: length)
    {
      throw Problem.field(
        .badFormat, pointer, "\(text) has bits set behind its prefix; the block that \(address) is in is \(meant)")
    }
    throw Problem.field(.badFormat, pointer, "\(text) is no block of addresses such as 10.0.0.0/24 or fd00:1::/64")
  }
}

extension Problem {
  /// One fault at one place of the body.
  static func field(_ code: ProblemCode, _ pointer: String, _ detail: String) -> Problem {
    Problem(code, detail, errors: [.init(code: code, detail: detail, pointer: pointer)])
  }
}
