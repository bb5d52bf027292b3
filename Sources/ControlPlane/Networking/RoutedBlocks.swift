import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// The blocks of addresses that projects may use on an external network as they are. A router translates what leaves by it, or
/// sends it from a block of its project's; everything else is dropped.
///
/// Invariant: the blocks of one external network do not overlap each other, nor its subnets, so each address outside is one
/// project's or nobody's.
struct RoutedBlocks: Sendable, JSONWritable {
  struct Block: Sendable {
    var cidr: AddressBlock
    var project: ProjectID
  }

  var blocks: [Block]

  static func of(_ network: ExternalNetworkID, in session: Session) throws -> RoutedBlocks {
    let rows = try session.query(
      "SELECT cidr, project_id FROM routed_blocks WHERE network_id = \(network) ORDER BY family(cidr), cidr")
    return RoutedBlocks(blocks: try rows.map { Block(cidr: try $0.get(0), project: try $0.get(1)) })
  }

  /// A block as a caller asks for it.
  struct Wish: Decodable, Sendable {
    var cidr: String
    var project: String
  }

  /// Puts these in place of those that an external network has, which is locked.
  static func replace(_ wishes: [Wish], of network: ExternalNetworkRecord, in session: Session) throws {
    var blocks: [AddressBlock] = []
    let subnets = try SubnetStore.all(of: network.id.uuid, in: session)
    try session.execute("DELETE FROM routed_blocks WHERE network_id = \(network.id)")
    for (index, wish) in wishes.enumerated() {
      let place = "/blocks/\(index)"
      let block = try AddressBlock.parse(wish.cidr, at: place + "/cidr")
      if let other = blocks.first(where: { $0.overlaps(block) }) {
        throw Problem.field(
          .addressesOverlap, place + "/cidr", "\(block) overlaps \(other), which is in the list already")
      }
      if let subnet = subnets.first(where: { $0.cidr.overlaps(block) }) {
        throw Problem.field(
          .addressesOverlap, place + "/cidr",
          "\(block) overlaps subnet \(subnet.name) (\(subnet.cidr)) of external network \(network.name), whose addresses are given out one by one"
        )
      }
      guard let project = try ProjectStore.find(wish.project, in: session) else {
        throw Problem.field(
          .notFound, place + "/project", "there is no project \(wish.project); GET /v1/projects lists them")
      }
      try session.execute(
        "INSERT INTO routed_blocks (network_id, cidr, project_id) VALUES (\(network.id), \(block), \(project.id))")
      blocks.append(block)
    }
  }

  /// Refuses a subnet that would take in what is a project's already.
  static func refuseOverlap(of block: AddressBlock, with network: ExternalNetworkRecord, in session: Session) throws {
    guard let other = try of(network.id, in: session).blocks.first(where: { $0.cidr.overlaps(block) }) else { return }
    throw Problem.field(
      .addressesOverlap, "/cidr",
      "\(block) overlaps \(other.cidr), which is routed to a project; PUT /v1/external-networks/\(network.name)/routed-blocks without it"
    )
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.key("blocks")
      writer.array { writer in
        for block in blocks {
          writer.object { writer in
            writer.field("cidr", block.cidr)
            writer.field("project_id", block.project)
          }
        }
      }
    }
  }
}

extension ExternalNetworkHandlers {
  func registerRoutedBlocks(in table: inout HandlerTable) {
    table.on("getRoutedBlocks", routedBlocks)
    table.on("setRoutedBlocks", setRoutedBlocks)
  }

  private func routedBlocks(_ call: Call) async throws -> Reply {
    let (network, blocks) = try await plane.database.transaction { session in
      let network = try ResourceStore<ExternalNetworkRecord>.require(call, in: session)
      return (network, try RoutedBlocks.of(network.id, in: session))
    }
    return .json(blocks, etag: network.etag)
  }

  private struct Body: Decodable {
    var blocks: [RoutedBlocks.Wish]
  }

  private func setRoutedBlocks(_ call: Call) async throws -> Reply {
    let body = try call.decode(Body.self)
    return try await networks.edit(call) { network, session in
      try RoutedBlocks.replace(body.blocks, of: network, in: session)
      let blocks = try RoutedBlocks.of(network.id, in: session)
      return { .json(blocks, etag: $0.etag) }
    }
  }
}
