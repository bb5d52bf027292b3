import AloftModel
import Foundation
import Postgres

extension VMHandlers {
  private struct CreateBody: Decodable {
    var name: String
    var image: String?
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
    var diskPool: String?
    var diskEncrypted: Bool?
    var volumes: [VolumeWish]?
  }

  /// How often a create looks for another node when it lost the race for one; each loss means that somebody else won.
  private static let rounds = 16

  /// Places, then takes the place in the accepting transaction. A lost race tries the next candidate, then a fresh inventory.
  func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let creation = try await prepare(body, call)
    var wanted = NodeInventory.Wanted(
      vcpus: creation.vcpus, memoryMiB: creation.memoryMiB, diskGiB: creation.localGiB,
      architecture: creation.architecture, accelerator: creation.accelerator, nodeSelector: body.nodeSelector ?? [:],
      image: creation.image, needsNetworks: !creation.nics.isEmpty, storage: creation.bootDisk?.places,
      volumes: creation.volumePlaces)
    for round in 0..<Self.rounds {
      if round > 0, let disk = creation.bootDisk, !disk.isLocal {
        wanted.storage = try await plane.database.run { session in
          try StoragePlaces.all(withRoomFor: disk.sizeGiB, in: disk.pool, session)
        }
      }
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
      var holding: (@Sendable (Session) throws -> Void)?
      if !creation.plugged.isEmpty {
        // Volumes are locked before their nodes.
        holding = { session in try PluggedVolume.hold(creation.plugged, for: node, in: session) }
      }
      do {
        let reply = try await plane.changeAtOnce(
          call, { parts in creation.statement(on: node, operation: operation, call: call, parts) },
          first: holding, rest: creation.plugging
        ) { row in
          let vm = try VMRecord(row)
          var reply = Reply.json(vm, status: call.isDryRun ? .ok : .accepted, etag: vm.etag)
          reply.headers[.location] = "/v1/vms/\(vm.id)"
          var wake: Set<Topic> = [.node(node.uuid), .events]
          if !creation.nics.isEmpty { wake.insert(.networks) }
          for volume in creation.plugged where volume.pool != nil {
            wake.insert(.work)
            if let holder = volume.holder { wake.insert(.node(holder.uuid)) }
          }
          return Changed(reply: reply, effects: Effects(wake: wake))
        }
        guard let reply else { continue }
        if !call.isDryRun, !reply.isRepeated { await plane.inventory.claimed(wanted, on: node) }
        return reply
      } catch let error as PostgresError {
        // Somebody made a volume of that name just now: it is to have another one.
        if error.isUniqueViolation("volumes_name") { throw LostRace() }
        // The room in the boot disk's pool is gone.
        if error.isCheckViolation("volumes_within_place") || error.isCheckViolation("volumes_within_pool") { continue }
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
    let memory = body.memoryMib ?? 512
    let (disks, nics) = try await plane.database.run { session in
      (try chooseDisks(of: body, memoryMiB: memory, call, in: session), try creations(of: body.nics, call, in: session))
    }
    return VMCreation(
      id: VMID(plane.environment.newUUID()), project: disks.project, name: body.name,
      labels: (body.labels ?? [:]).jsonText, image: disks.image?.id, architecture: disks.image?.architecture,
      bootDisk: disks.made, plugged: disks.plugged, vcpus: body.vcpus ?? 1, memoryMiB: memory,
      hostname: body.hostname ?? body.name, sshKeys: body.sshKeys ?? [], userData: body.userData ?? "",
      nodeSelector: (body.nodeSelector ?? [:]).jsonText, accelerator: body.accelerator ?? .any,
      power: body.power ?? .running, nics: nics)
  }

  /// What a VM boots from, and what else it gets.
  private struct Disks: Sendable {
    var project: ProjectID
    /// Of the disk that it boots from.
    var image: ImageRecord?
    var made: VMCreation.BootDisk?
    var plugged: [PluggedVolume]
  }

  private func chooseDisks(
    of body: CreateBody, memoryMiB: Int, _ call: Call, in session: Session
  ) throws -> Disks {
    let plugged = try PluggedVolume.all(body.volumes ?? [], call, in: session)
    guard plugged.count + (body.image == nil ? 0 : 1) <= VolumeHandlers.mostOfVM else {
      throw Problem(.limitReached, "a VM has at most \(VolumeHandlers.mostOfVM) volumes, its boot disk included")
    }
    if let reference = body.image {
      let image = try ImageStore.requireReady(reference, call, at: "/image", in: session)
      let size = body.diskGib ?? image.smallestDiskGiB
      try image.requireFits(gib: size, at: "/disk_gib")
      try image.requireRuns(memoryMiB: memoryMiB)
      let made = try newBootDisk(
        body.diskPool, isEncrypted: body.diskEncrypted ?? false, sizeGiB: size, call, in: session)
      return Disks(project: image.viewer ?? image.projectID, image: image, made: made, plugged: plugged)
    }
    let bootable = plugged.filter { $0.bootIndex != nil }
    guard let boot = bootable.min(by: { ($0.bootIndex ?? .max) < ($1.bootIndex ?? .max) }) else {
      throw Problem.field(
        .missingField, "/image", "say what it boots from: an image, or a volume that has a boot_index in volumes")
    }
    for (pointer, isSaid) in [
      ("/disk_gib", body.diskGib != nil), ("/disk_pool", body.diskPool != nil),
      ("/disk_encrypted", body.diskEncrypted == true),
    ]
    where isSaid {
      throw Problem.field(
        .notOneOf, pointer, "no boot disk is made: it boots from volume \(boot.name); name an image, or leave this out")
    }
    let image = try boot.image.flatMap { try ImageStore.find($0, in: session) }
    try image?.requireRuns(memoryMiB: memoryMiB)
    return Disks(project: try ProjectStore.require(call, in: session), image: image, plugged: plugged)
  }

  private func newBootDisk(
    _ pool: String?, isEncrypted: Bool, sizeGiB: Int, _ call: Call, in session: Session
  ) throws -> VMCreation.BootDisk {
    let pool = try ResourceStore<StoragePoolRecord>.require(
      pool ?? StoragePoolRecord.localName, call, at: "/disk_pool", in: session)
    let isLocal = pool.name == StoragePoolRecord.localName
    if isEncrypted { try VolumeHandlers.requireEncryptable(pool, at: "/disk_encrypted") }
    let volume = VolumeID(plane.environment.newUUID())
    return VMCreation.BootDisk(
      volume: volume, pool: pool.id, isLocal: isLocal,
      isShared: pool.kind.isShared, sizeGiB: sizeGiB,
      sealedKey: isEncrypted ? try plane.sealing.newKey(of: volume, plane.environment) : nil,
      places: isLocal ? nil : try StoragePlaces.all(withRoomFor: sizeGiB, in: pool.id, session))
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
