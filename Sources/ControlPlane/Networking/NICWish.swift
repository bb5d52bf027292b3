import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A NIC as a caller asks for it.
struct NICWish: Decodable, Sendable {
  struct Pair: Decodable, Sendable {
    var cidr: String
    var mac: String?
  }

  var network: String
  /// Where its addresses come from, by id or name; nil: one subnet of each family.
  var subnets: [String]?
  /// Addresses that it is to have; those that are not chosen are given.
  var addresses: [String]?
  var mac: String?
  var securityGroups: [String]?
  var labels: [String: String]?
  var antiSpoofing: Bool?
  var allowedPairs: [Pair]?
  var ingressKbps: Int?
  var egressKbps: Int?

  init(network: String) { self.network = network }
}

/// A NIC with everything found that its wish names.
struct NICCreation: Sendable {
  /// How it gets one of its addresses.
  enum Source: Sendable, Equatable {
    /// Any of one of these subnets, of which the first has room.
    case any([SubnetID])
    /// This very one.
    case that(SubnetID, IPAddress)
  }

  var id: NICID
  var network: NetworkID
  var networkName: String
  var mac: MACAddress
  var labels: String
  var antiSpoofing: Bool
  /// A JSON array.
  var allowedPairs: String
  var ingressKbps: Int?
  var egressKbps: Int?
  var groups: [UUID]
  var sources: [Source]
  /// Where in the body it is asked for.
  var pointer: String
  /// Which addresses are tried follows from it.
  var seed: UInt64
}

/// A subnet as far as giving addresses needs it.
struct AddressSource: Sendable {
  var id: SubnetID
  var name: String
  var cidr: AddressBlock
  var configuration: SubnetConfiguration
  /// Addresses that are somebody's already who has no row.
  var gateway: IPAddress?
  var metadataAddress: IPAddress?
  /// Ranges that nobody gets.
  var reserved: [AddressRange]
}

extension NICWish {
  /// Finds what the wish names, and decides where its addresses come from.
  func resolve(_ call: Call, at pointer: String, _ environment: Environment, in session: Session) throws -> NICCreation
  {
    let found = try ResourceStore<NetworkRecord>.require(network, call, at: pointer + "/network", in: session)
    let subnets = try session.query(
      """
      SELECT id, name, cidr, configuration, gateway, metadata_address, ARRAY(SELECT jsonb_array_elements_text(reserved))
        FROM subnets
       WHERE network_id = \(found.id) ORDER BY family(cidr), id
      """
    ).map {
      AddressSource(
        id: try $0.get(0), name: try $0.get(1), cidr: try $0.get(2), configuration: try $0.get(3),
        gateway: try $0.get(4), metadataAddress: try $0.get(5),
        reserved: try $0.get(6, as: [String].self).compactMap { AddressRange($0) })
    }
    let seed = environment.random()
    let taken = try NetworkMACs.of(found.id, in: session)
    let address = try chosenMAC(besides: taken, at: pointer) ?? MACAddress(locallyAdministered: environment.random())
    return NICCreation(
      id: NICID(environment.newUUID()), network: found.id, networkName: found.name, mac: address,
      labels: (labels ?? [:]).jsonText, antiSpoofing: antiSpoofing ?? true,
      allowedPairs: try Self.pairs(allowedPairs ?? [], besides: taken, at: pointer), ingressKbps: ingressKbps,
      egressKbps: egressKbps,
      groups: try Self.groups(securityGroups, call, at: pointer, in: session),
      sources: try sources(of: subnets, on: found, mac: address, at: pointer), pointer: pointer, seed: seed)
  }

  private func chosenMAC(besides taken: NetworkMACs, at pointer: String) throws -> MACAddress? {
    try mac.map { try taken.parse($0, at: pointer + "/mac") }
  }

  /// The groups by id; without a word, the project's default group.
  static func groups(_ names: [String]?, _ call: Call, at pointer: String, in session: Session) throws -> [UUID] {
    guard let names else {
      return try session.query(
        "SELECT id FROM security_groups WHERE is_default AND project_id = \(fragment: ProjectStore.id(call))"
      ).map { try $0.get(0) }
    }
    return try names.enumerated().map { index, name in
      let condition: SQL = SecurityGroupID(name).map { "id = \($0)" } ?? "name = \(name)"
      let row = try session.one(
        """
        SELECT id FROM security_groups WHERE project_id = \(fragment: ProjectStore.id(call)) AND \(fragment: condition)
        """)
      guard let row else {
        throw Problem.field(
          .notFound, "\(pointer)/security_groups/\(index)",
          "there is no security group \(name) in this project; GET /v1/security-groups lists them")
      }
      return try row.get(0)
    }
  }

  static func pairs(_ pairs: [Pair], besides taken: NetworkMACs, at pointer: String) throws -> String {
    var writer = JSONWriter()
    try writer.array { writer in
      for (index, pair) in pairs.enumerated() {
        let place = "\(pointer)/allowed_pairs/\(index)"
        guard let block = AddressBlock(pair.cidr) else {
          throw Problem.field(
            .badFormat, place + "/cidr", "\(pair.cidr) is no address and no block without bits of a host")
        }
        let mac = try pair.mac.map { try taken.parse($0, at: place + "/mac") }
        writer.object { writer in
          writer.field("cidr", block)
          writer.field("mac", mac)
        }
      }
    }
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  // MARK: Addresses

  private func sources(
    of all: [AddressSource], on network: NetworkRecord, mac: MACAddress, at pointer: String
  ) throws -> [NICCreation.Source] {
    guard !all.isEmpty else {
      throw Problem.field(
        .wrongState, pointer + "/network",
        "network \(network.name) has no subnet, so there is no address to have; POST /v1/subnets makes one")
    }
    let offered = try wanted(of: all, on: network, at: pointer)
    var sources: [NICCreation.Source] = []
    var served: Set<Bool> = []
    for (index, text) in (addresses ?? []).enumerated() {
      let place = "\(pointer)/addresses/\(index)"
      guard let address = IPAddress(text) else { throw Problem.field(.badFormat, place, "\(text) is no IP address") }
      let source = try Self.chosen(address, of: all, on: network, mac: mac, at: place)
      sources.append(.that(source.id, address))
      served.insert(address.isIPv6)
    }
    for isIPv6 in [false, true] where !served.contains(isIPv6) {
      let family = offered.filter { $0.cidr.isIPv6 == isIPv6 }
      // Who is to configure itself knows its address by itself.
      if let source = family.first(where: { $0.configuration == .slaac }),
        let address = mac.autoconfigured(in: source.cidr)
      {
        sources.append(.that(source.id, address))
      } else if !family.isEmpty {
        sources.append(.any(family.map(\.id)))
      }
    }
    return sources
  }

  private func wanted(of all: [AddressSource], on network: NetworkRecord, at pointer: String) throws -> [AddressSource]
  {
    guard let subnets else { return all }
    return try subnets.enumerated().map { index, reference in
      guard let source = all.first(where: { $0.id.description == reference || $0.name == reference }) else {
        let names = all.map(\.name).joined(separator: ", ")
        throw Problem.field(
          .notFound, "\(pointer)/subnets/\(index)",
          "network \(network.name) has no subnet \(reference); it has \(names)")
      }
      return source
    }
  }

  private static func chosen(
    _ address: IPAddress, of all: [AddressSource], on network: NetworkRecord, mac: MACAddress, at place: String
  ) throws -> AddressSource {
    guard let source = all.first(where: { $0.cidr.contains(address) }) else {
      let blocks = all.map { $0.cidr.description }.joined(separator: ", ")
      throw Problem.field(
        .outOfRange, place, "\(address) is in no subnet of network \(network.name), which has \(blocks)")
    }
    guard address != source.cidr.base, source.cidr.isIPv6 || address != source.cidr.last else {
      throw Problem.field(.outOfRange, place, "\(address) means all of \(source.cidr), so nobody can have it")
    }
    if address == source.gateway || address == source.metadataAddress {
      let owner = address == source.gateway ? "the gateway" : "the metadata service"
      throw Problem.field(.addressTaken, place, "\(address) is \(owner) of subnet \(source.name); choose another one")
    }
    if let range = source.reserved.first(where: { $0.contains(address) }) {
      throw Problem.field(
        .outOfRange, place, "\(address) is in \(range), which subnet \(source.name) gives to nobody; choose another one"
      )
    }
    if source.configuration == .slaac, address != mac.autoconfigured(in: source.cidr) {
      let own = mac.autoconfigured(in: source.cidr).map { "\($0)" } ?? "another one"
      throw Problem.field(
        .outOfRange, place, "guests configure themselves in \(source.cidr): one with \(mac) takes \(own)")
    }
    return source
  }
}
