import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

extension VolumeHandlers {
  private struct CreateBody: Decodable {
    var name: String
    var labels: [String: String]?
    var sizeGib: Int?
    var image: String?
    var snapshot: String?
    var volume: String?
    var backup: String?
    var pool: String?
    var vm: String?
    var ioLimits: IOLimits?
    var encrypted: Bool?
  }

  /// What a create asks for, with every default filled in.
  private struct Creation {
    var pool: StoragePoolID
    /// It is in the pool that every node has, whose room placement knows.
    var isLocal: Bool
    /// It is in a pool that nodes share.
    var isShared: Bool
    var image: ImageRecord?
    var snapshot: (id: SnapshotID, volume: VolumeID)?
    /// The volume that it is a clone of, as that is when it is made.
    var original: VolumeRecord?
    var backup: BackupRecord?
    var sizeGiB: Int
    var isEncrypted = false
    /// The node that it must be on: that of the VM that it is for, or of what it is cloned from.
    var node: (id: NodeID, name: String)?
  }

  /// How often a create looks for another node when it lost the race for one.
  private static let rounds = 16

  /// Places, then takes the place in the accepting transaction. A lost race tries the next candidate, then a fresh inventory.
  func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let creation = try await prepare(body, call)
    for round in 0..<Self.rounds {
      for node in try await candidates(for: creation, fresh: round > 0) {
        guard let reply = try await accept(call, body, creation, on: node) else { continue }
        if creation.isLocal, !call.isDryRun, !reply.isRepeated {
          await plane.inventory.claimed(wanted(creation), on: node)
        }
        return await plane.waited(call, reply)
      }
    }
    throw Problem(.unavailable, "too many requests wanted the same room; try again")
  }

  /// Resolves what the body refers to and fills in the defaults.
  private func prepare(_ body: CreateBody, _ call: Call) async throws -> Creation {
    if body.image != nil, body.snapshot != nil {
      throw Problem.field(.notOneOf, "/snapshot", "it is made from an image or from a snapshot, not from both")
    }
    if body.image != nil, body.volume != nil {
      throw Problem.field(.notOneOf, "/volume", "it is made from an image or from a volume, not from both")
    }
    if body.backup != nil, body.image != nil || body.snapshot != nil || body.volume != nil {
      throw Problem.field(
        .notOneOf, "/backup", "it is made from a backup or from something else that is named, not from both")
    }
    try body.ioLimits?.requireSense()
    return try await plane.database.run { session in
      _ = try ProjectStore.require(call, in: session)
      let near = try body.vm.map { try Self.near($0, call, in: session) }
      if let snapshot = body.snapshot { return try Self.clone(of: snapshot, body, call, near: near, in: session) }
      if let volume = body.volume { return try Self.clone(ofVolume: volume, body, call, near: near, in: session) }
      let pool = try ResourceStore<StoragePoolRecord>.require(
        body.pool ?? StoragePoolRecord.localName, call, at: "/pool", in: session)
      let backup = try body.backup.map { try BackupHandlers.requireWhole($0, call, in: session) }
      let image = try body.image.map { try ImageStore.requireReady($0, call, at: "/image", in: session) }
      if let backup, let size = body.sizeGib, size < backup.sizeGiB {
        throw Problem.field(.outOfRange, "/size_gib", "the backup is of \(backup.sizeGiB) GiB; say at least as much")
      }
      guard let size = body.sizeGib ?? image?.smallestDiskGiB ?? backup?.sizeGiB else {
        throw Problem.field(
          .missingField, "/size_gib",
          "say how large it is to be; only an image, a snapshot, a volume or a backup has a size of its own")
      }
      try image?.requireFits(gib: size, at: "/size_gib")
      if body.encrypted == true { try Self.requireEncryptable(pool, at: "/encrypted") }
      if let backup { try BackupHandlers.requireEncryption(of: backup, in: pool, wanted: body.encrypted) }
      if let near, pool.kind.isShared { try Self.requireReach(near, pool.id, pool.name, in: session) }
      return Creation(
        pool: pool.id, isLocal: pool.name == StoragePoolRecord.localName, isShared: pool.kind.isShared, image: image,
        backup: backup, sizeGiB: size, isEncrypted: body.encrypted ?? backup?.isEncrypted ?? false, node: near)
    }
  }

  /// Only in directories a volume's layers can be locked.
  static func requireEncryptable(_ pool: StoragePoolRecord, at pointer: String) throws {
    guard pool.kind.isShared else { return }
    throw Problem.field(
      .encryptionUnsupported, pointer,
      "pool \(pool.name) is of kind \(pool.kind.rawValue); volumes are encrypted in pools of kind dir: choose one of those"
    )
  }

  /// A clone reads the layers of what it is cloned from.
  private static func requireSameEncryption(_ body: CreateBody, as volume: VolumeRecord) throws {
    guard let wanted = body.encrypted, wanted != volume.isEncrypted else { return }
    throw Problem.field(
      .encryptionUnsupported, "/encrypted",
      "a clone shares data with volume \(volume.name), which is \(volume.isEncrypted ? "" : "not ")encrypted, and is like it: leave this out"
    )
  }

  /// The node of the VM that the volume is for.
  private static func near(_ reference: String, _ call: Call, in session: Session) throws -> (id: NodeID, name: String)
  {
    guard let vm = try VMHandlers.found(reference, call, in: session) else {
      throw Problem.field(.notFound, "/vm", "there is no VM \(reference) in this project")
    }
    try VMHandlers.requireLiving(vm, to: "make a volume for")
    guard let node = vm.nodeID, let host = vm.facts.host else {
      throw Problem.field(.wrongState, "/vm", "VM \(vm.name) has no node")
    }
    return (node, host.name)
  }

  /// A VM's node must be one of those that share the pool.
  static func requireReach(
    _ node: (id: NodeID, name: String), _ pool: StoragePoolID, _ name: String, in session: Session
  ) throws {
    if let why = try StoragePlaces.whyNot(node.id, pool, in: session) {
      throw Problem.field(.wrongState, "/vm", "node \(node.name), where the VM is, does not reach pool \(name): \(why)")
    }
  }

  /// A clone is where its snapshot is: it shares what both have.
  private static func clone(
    of reference: String, _ body: CreateBody, _ call: Call, near: (id: NodeID, name: String)?, in session: Session
  ) throws -> Creation {
    let snapshot = try ResourceStore<SnapshotRecord>.require(reference, call, at: "/snapshot", in: session)
    guard snapshot.facts.state == .available else {
      throw Problem.field(.wrongState, "/snapshot", "snapshot \(snapshot.name) is not available; wait until it is")
    }
    let members = snapshot.members.filter { member in
      body.volume.map { $0 == member.name || VolumeID($0) == VolumeID(member.volume) } ?? true
    }
    guard let member = members.first, members.count == 1 else {
      let names = snapshot.members.map(\.name).joined(separator: ", ")
      throw Problem.field(
        body.volume == nil ? .missingField : .notFound, "/volume",
        "snapshot \(snapshot.name) is of several volumes or others; say which: \(names)")
    }
    let volume = try Store.require("\(VolumeID(member.volume))", call, at: "/volume", in: session)
    return try clone(of: volume, snapshot: snapshot.id, leastGiB: member.sizeGib, body, near: near, in: session)
  }

  /// A clone of a volume as it is, through a snapshot that nobody sees.
  private static func clone(
    ofVolume reference: String, _ body: CreateBody, _ call: Call, near: (id: NodeID, name: String)?, in session: Session
  ) throws -> Creation {
    let volume = try Store.require(reference, call, at: "/volume", in: session)
    try requireCloneable(volume)
    return try clone(of: volume, snapshot: nil, leastGiB: volume.facts.intent.sizeGiB, body, near: near, in: session)
  }

  private static func requireCloneable(_ volume: VolumeRecord) throws {
    try requireLiving(volume, to: "clone")
    try requireStaying(volume, at: "/volume")
    guard volume.facts.wasMade else {
      throw Problem.field(.wrongState, "/volume", "volume \(volume.name) is not made yet; wait until it is")
    }
  }

  private static func clone(
    of volume: VolumeRecord, snapshot: SnapshotID?, leastGiB: Int, _ body: CreateBody,
    near: (id: NodeID, name: String)?, in session: Session
  ) throws -> Creation {
    try requireSameEncryption(body, as: volume)
    var place = near
    if volume.pool.isLocal {
      guard let node = volume.nodeID, let host = volume.facts.host else {
        throw Problem.field(.wrongState, "/volume", "the node of volume \(volume.name) was removed")
      }
      if let near, near.id != node {
        throw Problem.field(
          .wrongState, "/vm",
          "what is cloned is on node \(host.name), in a pool that nodes do not share, and the VM on \(near.name)")
      }
      place = (node, host.name)
    } else if let near {
      try requireReach(near, volume.pool.id, volume.pool.name, in: session)
    }
    let size = body.sizeGib ?? leastGiB
    if size < leastGiB {
      throw Problem.field(.outOfRange, "/size_gib", "what is cloned has \(leastGiB) GiB; say at least as much")
    }
    return Creation(
      pool: volume.pool.id, isLocal: volume.pool.name == StoragePoolRecord.localName, isShared: !volume.pool.isLocal,
      snapshot: snapshot.map { (id: $0, volume: volume.id) }, original: snapshot == nil ? volume : nil, sizeGiB: size,
      isEncrypted: volume.isEncrypted, node: place)
  }

  /// Locks the volume that is cloned, and has the snapshot taken through which that is done.
  private static func snapshot(
    _ original: VolumeRecord, as id: SnapshotID, for creation: Creation, on node: NodeID, in session: Session
  ) throws -> Set<Topic> {
    guard let (volume, _) = try VolumeStore.lock(original.id, in: session) else {
      throw Problem.field(.notFound, "/volume", "volume \(original.name) was deleted a moment ago")
    }
    try requireCloneable(volume)
    if volume.facts.intent.sizeGiB > creation.sizeGiB {
      throw Problem.field(.outOfRange, "/size_gib", "volume \(volume.name) has grown a moment ago; say more")
    }
    guard creation.isShared || volume.nodeID == creation.node?.id, volume.pool.id == creation.pool else {
      throw Problem.field(.wrongState, "/volume", "volume \(volume.name) has been moved a moment ago; try again")
    }
    if creation.isShared { try VolumeStore.holdNodes(of: [volume.id.uuid], and: [node], in: session) }
    return try SnapshotStore.takeHidden(id, of: volume, in: session)
  }

  /// Where it can be, best first.
  private func candidates(for creation: Creation, fresh: Bool) async throws -> [NodeID] {
    if let node = creation.node { return [node.id] }
    if !creation.isLocal {
      let nodes = try await plane.database.run { session in
        try StoragePlaces.withRoom(for: creation.sizeGiB, in: creation.pool, session)
      }
      if nodes.isEmpty {
        throw Problem.field(
          .noCapacity, "/pool",
          creation.isShared
            ? "the pool has no \(creation.sizeGiB) GiB of room, or no node reaches it now"
            : "no node that has this pool has \(creation.sizeGiB) GiB of room in it now")
      }
      return nodes
    }
    switch try await plane.inventory.place(wanted(creation), fresh: fresh, seed: plane.environment.random()) {
    case .placed(let nodes): return nodes
    case .refused(let refusal): throw Problem.noCapacity(refusal)
    }
  }

  private func wanted(_ creation: Creation) -> NodeInventory.Wanted {
    NodeInventory.Wanted(
      vcpus: 0, memoryMiB: 0, diskGiB: creation.sizeGiB, accelerator: .any, nodeSelector: [:], image: creation.image?.id
    )
  }

  /// A new key, or that of what it is a clone of or restored from.
  private func sealedKey(
    of id: VolumeID, as original: VolumeID?, _ backup: BackupRecord?, in session: Session
  ) throws -> [UInt8] {
    if let backup, backup.isEncrypted { return try plane.sealing.key(of: backup.id, for: id, in: session) }
    if let original { return try plane.sealing.key(of: original, for: id, in: session) }
    return try plane.sealing.newKey(of: id, plane.environment)
  }

  /// Nil, and nothing written, when the node has no room any more.
  private func accept(_ call: Call, _ body: CreateBody, _ creation: Creation, on node: NodeID) async throws -> Reply? {
    struct LostRace: Error {}
    let id = VolumeID(plane.environment.newUUID())
    let operation = OperationID(plane.environment.newUUID())
    let hidden = SnapshotID(plane.environment.newUUID())
    do {
      return try await plane.change(call) { session in
        let project = try ProjectStore.require(call, in: session)
        var source = creation.snapshot
        var wake: Set<Topic> = [.node(node.uuid), .work, .events]
        if let original = creation.original {
          wake.formUnion(try Self.snapshot(original, as: hidden, for: creation, on: node, in: session))
          source = (hidden, original.id)
        }
        if let snapshot = creation.snapshot?.id {
          // It stays until the clone is made.
          let living = try session.one(
            "SELECT 1 FROM snapshots WHERE id = \(snapshot) AND deleted_at IS NULL FOR KEY SHARE")
          if living == nil { throw Problem.field(.notFound, "/snapshot", "the snapshot was deleted a moment ago") }
        }
        let key =
          try creation.isEncrypted ? sealedKey(of: id, as: source?.volume, creation.backup, in: session) : nil
        // The node's row first: locks are taken in that order, and its sums move with the volume. One that takes nothing new still
        // takes what belongs to what it has.
        let revision = try session.one(
          """
          UPDATE nodes SET assignment_revision = assignment_revision + 1
           WHERE id = \(node) AND (schedulable OR \(creation.node != nil)) RETURNING assignment_revision
          """)
        guard let revision = try revision?.get(0, as: Int.self) else { throw LostRace() }
        // Whoever deletes it holds a node first.
        if let backup = creation.backup { try BackupHandlers.hold(backup.id, in: session) }
        do throws(PostgresError) {
          try session.execute(
            """
            INSERT INTO volumes (id, project_id, name, labels, pool_id, node_id, size_gib, image_id, source_snapshot_id,
                                 source_volume_id, head_id, usage_slot, assignment_revision, io_limits,
                                 source_backup_id, encrypted, sealed_key)
            VALUES (\(id), \(project), \(body.name), \(JSONText((body.labels ?? [:]).jsonText))::jsonb, \(creation.pool),
                    \(node), \(creation.sizeGiB), \(creation.image?.id), \(source?.id),
                    \(source?.volume), \(creation.snapshot?.id), aloft_usage_slot(\(id)), \(revision),
                    \((body.ioLimits ?? IOLimits()).text)::jsonb, \(creation.backup?.id), \(creation.isEncrypted), \(key))
            """)
        } catch {
          if error.isCheckViolation("volumes_within_place") || error.isCheckViolation("volumes_within_pool") {
            guard let near = creation.node else { throw LostRace() }
            throw Self.refusal(of: error, near.name) ?? error
          }
          if error.isForeignKeyViolation("volumes_image_id_fkey") {
            throw Problem(.imageUnknown, "the image was deleted a moment ago; choose another one")
          }
          throw Store.refusal(of: error, name: body.name) ?? error
        }
        try OperationStore.accept(
          operation, .createVolume, project: project, of: .volume, id.uuid, generation: 1,
          seconds: creation.backup == nil ? Self.operationSeconds : Self.restoreSeconds, author: call.author,
          in: session)
        try EventStore.append(
          .volumeCreated, project: project, resource: id.uuid, data: ["name": body.name], in: session)
        var changed = try accepted(id, call, wake: wake, in: session)
        changed.reply.headers[.location] = "/v1/volumes/\(id)"
        return changed
      }
    } catch is LostRace {
      return nil
    }
  }
}
