import AloftModel
import Foundation
import Postgres

extension VMHandlers {
  private struct CreateBody: Decodable {
    var name: String
    var image: String
    var vcpus: Int?
    var memoryMib: Int?
    var diskGib: Int?
    var power: Power?
    var hostname: String?
    var labels: [String: String]?
    var sshKeys: [String]?
    var userData: String?
    var accelerator: AcceleratorChoice?
    var nodeSelector: [String: String]?
    var nics: [NICWish]?
  }

  /// How often a create looks for another node when it lost the race for one; each loss means that somebody else won.
  private static let rounds = 16

  /// Places, then takes the place in the accepting transaction. A lost race tries the next candidate, then a fresh inventory.
  func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let creation = try await prepare(body, call)
    let wanted = NodeInventory.Wanted(
      vcpus: creation.vcpus, memoryMiB: creation.memoryMiB, diskGiB: creation.diskGiB,
      accelerator: creation.accelerator, nodeSelector: body.nodeSelector ?? [:], image: creation.image,
      needsNetworks: !creation.nics.isEmpty)
    for round in 0..<Self.rounds {
      let candidates: [NodeID]
      switch try await plane.inventory.place(wanted, fresh: round > 0, seed: plane.environment.random()) {
      case .placed(let nodes): candidates = nodes
      case .refused(let refusal):
        throw Problem.noCapacity(refusal)
      }
      do {
        let reply = try await accept(call, creation, candidates: candidates, wanted)
        return await plane.waited(call, reply)
      } catch is LostRace {
        continue
      }
    }
    throw Problem(.unavailable, "too many requests wanted the same room; try again")
  }

  /// No candidate had the room any more. Nothing was written.
  private struct LostRace: Error {}

  private func accept(
    _ call: Call, _ creation: VMCreation, candidates: [NodeID], _ wanted: NodeInventory.Wanted
  ) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    for node in candidates {
      do {
        let reply = try await plane.changeAtOnce(
          call, { parts in creation.statement(on: node, operation: operation, call: call, parts) },
          rest: creation.plugging
        ) { row in
          let vm = try VMRecord(row)
          var reply = Reply.json(vm, status: call.isDryRun ? .ok : .accepted, etag: vm.etag)
          reply.headers[.location] = "/v1/vms/\(vm.id)"
          var wake: Set<Topic> = [.node(node.uuid), .events]
          if !creation.nics.isEmpty { wake.insert(.networks) }
          return Changed(reply: reply, effects: Effects(wake: wake))
        }
        guard let reply else { continue }
        if !call.isDryRun, !reply.isRepeated { await plane.inventory.claimed(wanted, on: node) }
        return reply
      } catch let error as PostgresError {
        throw Self.refusal(of: error, creation) ?? error
      }
    }
    throw LostRace()
  }

  private static func refusal(of error: PostgresError, _ creation: VMCreation) -> Problem? {
    if error.isUniqueViolation("vms_name") { return .nameTaken(creation.name, what: "a VM") }
    if error.isForeignKeyViolation("vms_project_id_fkey") { return ProjectStore.absent(creation.project.description) }
    if error.isForeignKeyViolation("vms_image_id_fkey") {
      return Problem(.imageUnknown, "the image was deleted a moment ago; choose another one")
    }
    return nil
  }

  /// The most bytes of user data, and of keys: the contract counts characters, but these travel to the node as bytes.
  private static let longestText = 65536

  private static func requireRoom(_ bytes: Int, _ what: String, at pointer: String) throws {
    if bytes <= longestText { return }
    throw Problem(
      .tooLong, "\(what) may have \(longestText) bytes of UTF-8, not \(bytes)",
      errors: [.init(code: .tooLong, detail: "at most \(longestText) bytes", pointer: pointer)])
  }

  /// Resolves what the body refers to and fills in the defaults.
  private func prepare(_ body: CreateBody, _ call: Call) async throws -> VMCreation {
    try Self.requireRoom(body.userData?.utf8.count ?? 0, "user data", at: "/user_data")
    try Self.requireRoom((body.sshKeys ?? []).reduce(0) { $0 + $1.utf8.count }, "all keys together", at: "/ssh_keys")
    let (image, nics) = try await plane.database.run { session in
      let image = try ImageStore.find(body.image, project: ProjectStore.id(call), in: session)
      if image == nil { _ = try ProjectStore.require(call, in: session) }
      return (image, try creations(of: body.nics, call, in: session))
    }
    guard let image else {
      throw Problem(
        .imageUnknown, "there is no image \(body.image) in this project; GET /v1/images lists them",
        errors: [.init(code: .imageUnknown, detail: "unknown", pointer: "/image")])
    }
    guard image.isReady else {
      throw Problem(
        .imageNotReady, "image \(image.name) waits for its content; PUT it to /v1/images/\(image.name)/content first",
        errors: [.init(code: .imageNotReady, detail: "has no content yet", pointer: "/image")])
    }
    let disk = body.diskGib ?? image.smallestDiskGiB
    guard disk >= image.smallestDiskGiB else {
      throw Problem(
        .outOfRange, "image \(image.name) needs a disk of at least \(image.smallestDiskGiB) GiB",
        errors: [.init(code: .outOfRange, detail: "at least \(image.smallestDiskGiB)", pointer: "/disk_gib")])
    }
    return VMCreation(
      id: VMID(plane.environment.newUUID()), project: image.projectID, name: body.name,
      labels: (body.labels ?? [:]).jsonText, image: image.id, vcpus: body.vcpus ?? 1, memoryMiB: body.memoryMib ?? 512,
      diskGiB: disk,
      hostname: body.hostname ?? body.name, sshKeys: body.sshKeys ?? [], userData: body.userData ?? "",
      nodeSelector: (body.nodeSelector ?? [:]).jsonText, accelerator: body.accelerator ?? .any,
      power: body.power ?? .running, nics: nics)
  }

  /// What a VM is connected to that says nothing about it.
  private static let defaultNetwork = "default"

  private func creations(of wishes: [NICWish]?, _ call: Call, in session: Session) throws -> [NICCreation] {
    var wishes = wishes ?? []
    if call.body?["nics"] == nil, !plane.settings.networking.northbound.isEmpty {
      // Only with a subnet: a network that is being set up must not be in the way.
      let network = try ResourceStore<NetworkRecord>.find(Self.defaultNetwork, call, in: session)
      if let network, !network.subnets.isEmpty { wishes = [NICWish(network: Self.defaultNetwork)] }
    }
    return try wishes.enumerated().map { index, wish in
      try wish.resolve(call, at: "/nics/\(index)", plane.environment, in: session)
    }
  }
}

extension Problem {
  static func noCapacity(_ refusal: PlacementRefusal) -> Problem {
    let removed = refusal.removed.filter { $0.nodes > 0 }.map { "\($0.constraint) rules out \($0.nodes)" }
    let why = removed.isEmpty ? "no node has joined yet" : removed.joined(separator: ", ")
    return Problem(.noCapacity, "none of \(refusal.nodes) nodes takes it: \(why)", refusal: refusal)
  }
}
