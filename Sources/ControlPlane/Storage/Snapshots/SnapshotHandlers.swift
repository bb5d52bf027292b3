import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on snapshots. The nodes of their volumes carry them out.
struct SnapshotHandlers: Sendable {
  private typealias Store = ResourceStore<SnapshotRecord>

  let plane: Plane
  private let snapshots: Resources<SnapshotRecord>

  init(plane: Plane) {
    self.plane = plane
    snapshots = Resources(plane)
  }

  func register(in table: inout HandlerTable) {
    table.on("listSnapshots", list)
    table.on("getSnapshot", snapshots.get)
    table.on("createSnapshot", create)
    table.on("updateSnapshot", update)
    table.on("revertSnapshot", revert)
    table.on("deleteSnapshot", delete)
  }

  /// How long taking, putting back or deleting a snapshot may take: the guest may have to come to rest, and data to be merged.
  private static let operationSeconds = 1800
  /// The same where a guest's memory is written, at the speed of the disk.
  private static let memorySeconds = 4 * 3600

  private func list(_ call: Call) async throws -> Reply {
    try await snapshots.list(call) { session in
      var condition: SQL = ""
      if let reference = call.string("vm") {
        guard let vm = try VMHandlers.found(reference, call, in: session) else { return " AND false" }
        condition.append(" AND r.vm_id = \(vm.id)")
      }
      if let reference = call.string("volume") {
        guard let volume = try VolumeHandlers.Store.find(reference, call, in: session) else { return " AND false" }
        condition.append(
          " AND EXISTS (SELECT 1 FROM volume_snapshots m WHERE m.snapshot_id = r.id AND m.volume_id = \(volume.id))")
      }
      return condition
    }
  }

  private struct CreateBody: Decodable {
    var name: String
    var labels: [String: String]?
    var volume: String?
    var vm: String?
    var quiesce: Bool?
    var memory: Bool?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    guard (body.volume == nil) != (body.vm == nil) else {
      throw Problem.field(.missingField, "/volume", "say of what: either one volume, or the VM whose volumes are meant")
    }
    let withMemory = body.memory == true
    if withMemory, body.vm == nil {
      throw Problem.field(
        .missingField, "/vm", "memory is of a whole VM: say which, and all of its volumes are in the snapshot")
    }
    let id = SnapshotID(plane.environment.newUUID())
    return try await change(call, .createSnapshot, resource: id, withMemory: withMemory) { session in
      let project = try ProjectStore.require(call, in: session)
      let (machine, volumes) = try members(body, call, in: session)
      let owner = withMemory ? try memoryOwner(of: machine, volumes) : nil
      // Nodes are locked before what a project uses, which the new row counts in.
      let wake = try SnapshotStore.intend(volumes.map(\.id), in: session)
      if let owner { try SnapshotMemory.holdPlace(of: owner, in: session) }
      try session.execute(
        """
        INSERT INTO snapshots (id, project_id, name, labels, vm_id, quiesce)
        VALUES (\(id), \(project), \(body.name), \(JSONText((body.labels ?? [:]).jsonText))::jsonb, \(machine?.id),
                \(body.quiesce ?? true))
        """
      ) { Store.refusal(of: $0, name: body.name) }
      try session.execute(
        """
        INSERT INTO volume_snapshots (snapshot_id, volume_id, size_gib, parent_id)
        SELECT \(id), v.id, v.size_gib, h.id FROM volumes v LEFT JOIN snapshots h ON h.id = v.head_id
         WHERE v.id = ANY(\(volumes.map(\.id.uuid)))
        """)
      if let owner, let machine { try SnapshotMemory.promise(id, beside: owner, of: machine, in: session) }
      try EventStore.append(
        .snapshotCreated, project: project, resource: id.uuid, data: ["name": body.name], in: session)
      guard let snapshot = try Store.find(id, in: session) else { throw Store.absent(body.name) }
      return (snapshot, wake)
    }
  }

  /// Locks the volumes that are to have the snapshot, and the VM that has them all.
  private func members(_ body: CreateBody, _ call: Call, in session: Session) throws -> (VMRecord?, [VolumeRecord]) {
    var vm: VMRecord?
    var ids: [VolumeID] = []
    if let reference = body.vm {
      guard let found = try VMHandlers.found(reference, call, in: session),
        let machine = try VMStore.lock(found.id, in: session)
      else { throw Problem.field(.notFound, "/vm", "there is no VM \(reference) in this project") }
      try VMHandlers.requireLiving(machine, to: "take a snapshot of")
      vm = machine
      ids = machine.disks.filter { !$0.isLeaving }.map(\.volume)
      if ids.isEmpty { throw Problem.field(.wrongState, "/vm", "VM \(machine.name) has no volumes") }
    } else if let reference = body.volume {
      ids = [try VolumeHandlers.Store.require(reference, call, at: "/volume", in: session).id]
    }
    let pointer = body.vm == nil ? "/volume" : "/vm"
    let volumes = try ids.sorted { $0.uuid.uuidString < $1.uuid.uuidString }.map { id in
      guard let (volume, _) = try VolumeStore.lock(id, in: session) else {
        throw Problem.field(.notFound, pointer, "the volume was deleted a moment ago")
      }
      try VolumeHandlers.requireLiving(volume, to: "take a snapshot of")
      try VolumeHandlers.requireStaying(volume, at: pointer)
      if let next = volume.facts.next {
        throw Problem.field(
          .wrongState, pointer, "volume \(volume.name) is being handed over to node \(next); wait for that")
      }
      guard volume.facts.wasMade else {
        throw Problem.field(.wrongState, pointer, "volume \(volume.name) is not made yet; wait until it is")
      }
      return volume
    }
    try SnapshotStore.requireRoom(ids, in: session)
    return (vm, volumes)
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await snapshots.update(call, name: body.name, labels: body.labels) { snapshot, _ in
      if snapshot.isDeleted { throw Self.tooLate(snapshot, to: "change") }
    }
  }

  private struct RevertBody: Decodable {
    var memory: Bool?
  }

  private func revert(_ call: Call) async throws -> Reply {
    let withMemory = try call.decode(RevertBody.self).memory == true
    let request = plane.environment.newUUID()
    // Who is to go on from memory comes before its volumes.
    let hold: @Sendable (SnapshotRecord, Session) throws -> VMRecord? = { snapshot, session in
      withMemory ? try snapshot.vmID.flatMap { try VMStore.lock($0, in: session) } : nil
    }
    return try await change(call, .revertSnapshot, holding: hold) { snapshot, machine, session in
      if snapshot.isDeleted { throw Self.tooLate(snapshot, to: "go back to") }
      guard snapshot.facts.state == .available else {
        throw Problem(
          .wrongState, "snapshot \(snapshot.name) is not there to go back to; it is \(snapshot.facts.state)")
      }
      let running = try session.someNames(
        """
        SELECT DISTINCT v.name FROM volume_snapshots m JOIN volumes d ON d.id = m.volume_id JOIN vms v ON v.id = d.vm_id
               LEFT JOIN vm_observations o ON o.vm_id = v.id
         WHERE m.snapshot_id = \(snapshot.id)
           AND (v.desired_power = 'running' OR coalesce(o.power NOT IN ('stopped', 'crashed', 'absent'), false))
         ORDER BY v.name
        """)
      if let running { throw Problem(.wrongState, "its volumes are in use by \(running); stop that first") }
      if withMemory { try Self.requireSameMachine(machine, snapshot) }
      let wake = try SnapshotStore.intend(
        snapshot.volumes, "epoch = epoch + 1, base_snapshot_id = \(snapshot.id), head_id = \(snapshot.id),", in: session
      )
      if withMemory, let machine {
        try SnapshotMemory.request(request, snapshot.id, of: machine.id, in: session)
      }
      return wake
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await change(call, .deleteSnapshot) { snapshot, _, session in
      if snapshot.isDeleted && snapshot.operation?.kind == .deleteSnapshot { return nil }
      let users = try session.someNames(
        """
        SELECT name FROM volumes WHERE source_snapshot_id = \(snapshot.id) OR base_snapshot_id = \(snapshot.id) ORDER BY name
        """)
      if let users {
        throw Problem(
          .inUse,
          "volumes are being made from snapshot \(snapshot.name) or put back to it: \(users); wait until that is done"
        )
      }
      if snapshot.memory?.isPending == true {
        throw Problem(
          .inUse,
          "its VM goes on from the memory of snapshot \(snapshot.name) when it is started; start it, or put it back without memory"
        )
      }
      if let images = try ImageCaptureStore.users(of: snapshot.id, in: session) {
        throw Problem(
          .inUse, "images are being made of snapshot \(snapshot.name): \(images); wait until that is done, or cancel it"
        )
      }
      return try SnapshotStore.delete(snapshot, in: session)
    }
  }

  // MARK: Shared

  private static func tooLate(_ snapshot: SnapshotRecord, to verb: String) -> Problem {
    Problem(.wrongState, "snapshot \(snapshot.name) is being deleted; it is too late to \(verb) it")
  }

  /// One verb on a snapshot that exists, with its volumes locked, and before these what `hold` locks. `body` returns whose agents are to be woken, or nil when there
  /// is nothing left to ask for.
  private func change(
    _ call: Call, _ kind: OperationKind,
    holding hold: @escaping @Sendable (SnapshotRecord, Session) throws -> VMRecord? = { _, _ in nil },
    _ body: @escaping @Sendable (SnapshotRecord, VMRecord?, Session) throws -> Set<Topic>?
  ) async throws -> Reply {
    try await change(call, kind, resource: nil) { session in
      let found = try Store.require(call, in: session)
      let machine = try hold(found, session)
      guard let snapshot = try SnapshotStore.lock(found.id, in: session) else { throw Store.absent(found.name) }
      try call.requireMatch(snapshot.etag)
      return (snapshot, try body(snapshot, machine, session))
    }
  }

  /// Accepts an operation on a snapshot, and answers with it; waits for its end if that is preferred.
  private func change(
    _ call: Call, _ kind: OperationKind, resource made: SnapshotID?, withMemory: Bool = false,
    _ body: @escaping @Sendable (Session) throws -> (SnapshotRecord, Set<Topic>?)
  ) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let (snapshot, wake) = try body(session)
      if wake != nil {
        try OperationStore.accept(
          operation, kind, project: snapshot.project, of: .snapshot, snapshot.id.uuid, generation: 0,
          seconds: withMemory ? Self.memorySeconds : Self.operationSeconds, author: call.author, in: session)
      }
      guard let after = try Store.find(snapshot.id, in: session) else { throw Store.absent(snapshot.name) }
      var reply = Reply.json(after, status: call.isDryRun ? .ok : .accepted, etag: after.etag)
      if made != nil { reply.headers[.location] = after.location }
      return Changed(
        reply: reply, effects: Effects(wake: (wake ?? []).union([.work, .events])), resource: snapshot.id.uuid,
        project: snapshot.project)
    }
    return await plane.waited(call, reply)
  }
}
