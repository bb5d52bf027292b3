import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on virtual machines.
struct VMHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listVMs", list)
    table.on("createVM", create)
    table.on("getVM", get)
    table.on("updateVM", update)
    table.on("deleteVM", delete)
    table.on("startVM", start)
    table.on("stopVM", stop)
    table.on("rebootVM", reboot)
    table.on("getVMSerialLog", serialLog)
  }

  // MARK: Reading

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      var node: NodeID?
      if let reference = call.string("node") {
        // A filter that matches nothing is an empty page, not an error.
        guard let found = try NodeStore.find(reference, in: session) else { return [VMRecord]() }
        node = found.id
      }
      let records = try VMStore.page(
        project: ProjectStore.id(call), name: call.string("name"), labels: call.labelFilters(), node: node,
        after: cursor, limit: call.limit + 1, in: session)
      if records.isEmpty { _ = try ProjectStore.require(call, in: session) }
      return records
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let record = try await plane.database.run { session in try find(call, in: session) }
    return .json(record, etag: record.etag)
  }

  private func serialLog(_ call: Call) async throws -> Reply {
    let vm = try await plane.database.run { session in try find(call, in: session) }
    guard let node = vm.nodeID, let host = vm.facts.host else {
      throw Problem(.wrongState, "VM \(vm.name) has no node, so there is no serial log")
    }
    guard host.alive else {
      throw Problem(.nodeUnreachable, "node \(host.name), which has the log, does not report; try again later")
    }
    // What is read is the project's, whatever becomes of its name.
    let requirement = call.requirement.map {
      Authorizer.Requirement(
        permission: $0.permission, credentials: $0.credentials, project: vm.projectID.description)
    }
    let authorizer = plane.authorizer
    return try await plane.streams.serialLog(
      of: vm.id, on: node, offset: call.int("offset") ?? 0, follow: call.bool("follow")
    ) {
      if let requirement { try await authorizer.admit(requirement) }
    }
  }

  // MARK: Changing

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await plane.change(call) { session in
      let vm = try lock(call, in: session)
      try Self.requireLiving(vm, to: "change")
      try VMStore.update(vm.id, name: body.name, labels: body.labels?.jsonText, in: session)
      try EventStore.append(.vmUpdated, project: vm.projectID, resource: vm.id.uuid, in: session)
      guard let after = try VMStore.find(vm.id, in: session) else { throw gone(vm.name) }
      var changed = Changed(
        reply: .json(after, etag: after.etag), resource: vm.id.uuid, project: vm.projectID)
      changed.effects.wake.insert(.events)
      return changed
    }
  }

  /// How long a VM may take to be deleted.
  static let deletionSeconds = 600

  private func delete(_ call: Call) async throws -> Reply {
    try await verb(call, .deleteVM, seconds: Self.deletionSeconds) { vm, _, session in
      // Asking again is harmless: the deletion under way is the answer, unless its operation has given up.
      if vm.facts.intent.deleted && vm.operation?.kind == .deleteVM { return nil }
      return try VMStore.delete(vm.id, in: session)
    }
  }

  private func start(_ call: Call) async throws -> Reply {
    if let reply = try await startElsewhere(call) { return reply }
    return try await verb(call, .startVM, seconds: 600) { vm, _, session in
      try Self.requireLiving(vm, to: "start")
      guard vm.bootDisk != nil else {
        throw Problem(.wrongState, "VM \(vm.name) has no volume to boot from; attach one with a boot_index first")
      }
      return try VMStore.intend(vm.id, power: .running, in: session)
    }
  }

  private struct StopBody: Decodable { var graceSeconds: Int? }

  private func stop(_ call: Call) async throws -> Reply {
    let grace = try call.decode(StopBody.self).graceSeconds ?? 60
    return try await verb(call, .stopVM, seconds: grace + 300) { vm, _, session in
      try Self.requireLiving(vm, to: "stop")
      return try VMStore.intend(vm.id, power: .stopped, graceSeconds: grace, in: session)
    }
  }

  private struct RebootBody: Decodable { var force: Bool? }

  private func reboot(_ call: Call) async throws -> Reply {
    let kind: Assignment.Request.Kind = try call.decode(RebootBody.self).force == true ? .reset : .reboot
    return try await verb(call, .rebootVM, seconds: 300) { vm, request, session in
      try Self.requireLiving(vm, to: "reboot")
      guard vm.facts.intent.desiredPower == .running else {
        throw Problem(.wrongState, "VM \(vm.name) is meant to be stopped; start it instead")
      }
      try VMStore.request(request, kind, vm: vm.id, in: session)
      return try VMStore.intend(vm.id, in: session)
    }
  }

  private typealias Intended = (generation: Int, node: NodeID?)

  /// One verb: lock, decide, write the intent and its operation, wake the agent; then wait if that is preferred.
  /// `intend` returns nil when there is nothing left to ask for.
  private func verb(
    _ call: Call, _ kind: OperationKind, seconds: Int,
    _ intend: @escaping @Sendable (VMRecord, VMRequestID, Session) throws -> (generation: Int, node: NodeID?)?
  ) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    let request = VMRequestID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let vm = try lock(call, in: session)
      var changed = Changed(reply: .noContent, resource: vm.id.uuid, project: vm.projectID)
      if let intended = try intend(vm, request, session) {
        try OperationStore.accept(
          operation, kind, project: vm.projectID, vm: vm.id, generation: intended.generation,
          request: kind == .rebootVM ? request : nil, seconds: seconds, author: call.author, in: session)
        if let node = intended.node { changed.effects.wake.insert(.node(node.uuid)) }
        changed.effects.wake.formUnion([.work, .events])
      }
      guard let after = try VMStore.find(vm.id, in: session) else { throw gone(vm.name) }
      changed.reply = .json(after, status: call.isDryRun ? .ok : .accepted, etag: after.etag)
      return changed
    }
    return await plane.waited(call, reply)
  }

  // MARK: Shared

  /// By id or name, in the call's project.
  static func found(_ reference: String, _ call: Call, in session: Session) throws -> VMRecord? {
    let project = ProjectStore.id(call)
    return if let id = VMID(reference) {
      try VMStore.find(id, project: project, in: session)
    } else {
      try VMStore.find(name: reference, project: project, in: session)
    }
  }

  func find(_ call: Call, in session: Session) throws -> VMRecord {
    let reference = call.string("vm") ?? ""
    if let record = try Self.found(reference, call, in: session) { return record }
    // Which of the two does not exist takes a second look.
    _ = try ProjectStore.require(call, in: session)
    throw gone(reference)
  }

  /// Locks the VM that a call names, reads it, and checks `If-Match`.
  func lock(_ call: Call, in session: Session) throws -> VMRecord {
    let found = try find(call, in: session)
    guard let vm = try VMStore.lock(found.id, in: session) else {
      throw gone(found.name)
    }
    try call.requireMatch(vm.etag)
    return vm
  }

  static func requireLiving(_ vm: VMRecord, to verb: String) throws {
    if vm.facts.intent.deleted {
      throw Problem(.wrongState, "VM \(vm.name) is being deleted; it is too late to \(verb) it")
    }
    if vm.facts.host == nil {
      throw Problem(
        .wrongState,
        "VM \(vm.name) has lost its node; it can only be started, if all of its volumes are in shared pools, or deleted"
      )
    }
  }

  private func gone(_ reference: String) -> Problem {
    Problem(.notFound, "there is no VM \(reference) in this project")
  }
}
