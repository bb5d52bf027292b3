import AloftModel
import Foundation
import Postgres

/// What changes what a guest has is carried out by its node: these are operations on the VM.
extension VolumeHandlers {
  private struct AttachBody: Decodable {
    var vm: String
    var bus: DiskBus?
    var bootIndex: Int?
    var deleteWithVm: Bool?
  }

  /// How many volumes a VM may have.
  static let mostOfVM = 16
  /// How long a guest may take to get a volume, or to let go of one.
  private static let attachSeconds = 300

  func attach(_ call: Call) async throws -> Reply {
    let body = try call.decode(AttachBody.self)
    return try await plug(
      call, .attachVolume,
      vm: { _, session in
        guard let found = try VMHandlers.found(body.vm, call, in: session) else {
          throw Problem.field(.notFound, "/vm", "there is no VM \(body.vm) in this project")
        }
        return found.id
      }
    ) { volume, vm, session in
      if let other = volume.facts.intent.vm {
        throw Problem(.inUse, "volume \(volume.name) is attached to VM \(other); detach it first")
      }
      if volume.pool.isLocal, volume.nodeID != vm.nodeID {
        let (here, there) = (volume.facts.host?.name ?? "no node", vm.facts.host?.name ?? "no node")
        throw Problem.field(
          .wrongState, "/vm",
          "volume \(volume.name) is on node \(here), in a pool that nodes do not share, and VM \(vm.name) is on \(there)"
        )
      }
      if !volume.pool.isLocal, let node = vm.nodeID, let host = vm.facts.host {
        try Self.requireReach((node, host.name), volume.pool.id, volume.pool.name, in: session)
      }
      guard vm.disks.count < Self.mostOfVM else {
        throw Problem(.limitReached, "a VM has at most \(Self.mostOfVM) volumes; detach one of \(vm.name)'s first")
      }
      let intended = try VolumeStore.intend(
        volume.id,
        VolumeStore.attached(
          to: vm.id, bus: body.bus ?? .virtio, bootIndex: body.bootIndex, deletesWithVM: body.deleteWithVm ?? false),
        in: session)
      // Another node's agent may have to let go of it first.
      if !volume.pool.isLocal { try WorkQueue.wake(.volume, volume.id.uuid, in: session) }
      return intended.node
    }
  }

  func detach(_ call: Call) async throws -> Reply {
    try await plug(
      call, .detachVolume,
      vm: { volume, _ in
        guard let vm = volume.vmID else { throw Problem(.wrongState, "volume \(volume.name) is attached to no VM") }
        return vm
      }
    ) { volume, vm, session in
      guard volume.vmID == vm.id else {
        throw Problem(.wrongState, "volume \(volume.name) was attached elsewhere a moment ago; look again")
      }
      if vm.bootDisk?.volume == volume.id, vm.facts.intent.desiredPower == .running {
        throw Problem(.inUse, "VM \(vm.name) boots from volume \(volume.name); stop the VM first")
      }
      try session.execute(
        "UPDATE volumes SET detaching = true, revision = revision + 1, updated_at = aloft_now() WHERE id = \(volume.id)"
      )
      // When it comes back it may hold something else than the guest's memory knows of it.
      try session.execute(SnapshotMemory.forgetting(of: vm.id))
      return nil
    }
  }

  /// Locks the VM, then the volume, changes which has which, and puts the VM's document in front of its agent. `body` returns whose
  /// agent has another document of the volume.
  private func plug(
    _ call: Call, _ kind: OperationKind, vm: @escaping @Sendable (VolumeRecord, Session) throws -> VMID,
    _ body: @escaping @Sendable (VolumeRecord, VMRecord, Session) throws -> NodeID?
  ) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let found = try Store.require(call, in: session)
      guard let machine = try VMStore.lock(try vm(found, session), in: session),
        let (volume, _) = try VolumeStore.lock(found.id, in: session)
      else { throw Store.absent(found.name) }
      try call.requireMatch(volume.etag)
      try Self.requireLiving(volume, to: "move")
      try Self.requireStaying(volume)
      try VMHandlers.requireLiving(machine, to: "change the volumes of")
      // Before the volume's row changes: whoever makes one of its name holds the node, and waits for what becomes of the row.
      try VolumeStore.holdNodes(of: [volume.id.uuid], and: [machine.nodeID], in: session)
      let other = try body(volume, machine, session)
      let intended = try VMStore.intend(machine.id, in: session)
      try OperationStore.accept(
        operation, kind, project: machine.projectID, vm: machine.id, generation: intended.generation,
        seconds: Self.attachSeconds, author: call.author, in: session)
      try EventStore.append(
        .volumeUpdated, project: volume.project, resource: volume.id.uuid, data: ["name": volume.name], in: session)
      var wake: Set<Topic> = [.work, .events]
      for node in [intended.node, other] { if let node { wake.insert(.node(node.uuid)) } }
      return try accepted(volume.id, call, wake: wake, in: session)
    }
    return await plane.waited(call, reply)
  }
}
