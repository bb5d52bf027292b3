import AloftModel

extension SnapshotHandlers {
  /// The volume of a VM beside which its memory is kept. Throws what keeps it from being kept.
  func memoryOwner(of vm: VMRecord?, _ volumes: [VolumeRecord]) throws -> VolumeRecord? {
    guard let vm else { return nil }
    let seen = vm.facts.current
    guard vm.facts.intent.desiredPower == .running, seen?.power == .running else {
      throw Problem.field(
        .wrongState, "/memory",
        "VM \(vm.name) does not run, so it has no memory to keep; start it, or take the snapshot without memory")
    }
    if let encrypted = volumes.first(where: \.isEncrypted) {
      throw Problem.field(
        .encryptionUnsupported, "/memory",
        "volume \(encrypted.name) is encrypted, and what the guest knows of it would lie on the node in the clear; take the "
          + "snapshot without memory")
    }
    if let shared = volumes.first(where: { !$0.pool.isLocal }) {
      throw Problem.field(
        .memoryUnsupported, "/memory",
        "volume \(shared.name) is in a pool that nodes share, where memory cannot be kept; take the snapshot without memory"
      )
    }
    guard vm.facts.leavingDisks.isEmpty, vm.facts.leavingNICs.isEmpty, vm.facts.agreesOnDisks, vm.facts.agreesOnNICs
    else {
      throw Problem.field(
        .wrongState, "/memory", "VM \(vm.name) is getting or giving back a volume or a NIC; wait until it has")
    }
    let boot = vm.bootDisk?.volume
    return volumes.first { $0.id == boot } ?? volumes.first
  }

  /// Throws unless a VM can go on from a snapshot's memory once its volumes are put back.
  static func requireSameMachine(_ vm: VMRecord?, _ snapshot: SnapshotRecord) throws {
    guard let memory = snapshot.memory, memory.sizeBytes != nil else {
      throw Problem.field(
        .wrongState, "/memory",
        "snapshot \(snapshot.name) has no memory; put the volumes back without it, and the guest boots from them")
    }
    guard let vm else {
      throw Problem.field(
        .wrongState, "/memory",
        "the VM whose memory snapshot \(snapshot.name) has was deleted; put the volumes back without it")
    }
    try VMHandlers.requireLiving(vm, to: "put back")
    guard vm.facts.leavingDisks.isEmpty else {
      throw Problem.field(.wrongState, "/memory", "VM \(vm.name) is giving back a volume; wait until it has")
    }
    let differences = memory.shape.differences(to: vm.shape)
    guard differences.isEmpty else {
      throw Problem.field(
        .memoryMismatch, "/memory",
        "VM \(vm.name) is not what it was when its memory was kept: \(differences.joined(separator: "; ")). Undo that, or put "
          + "the volumes back without memory")
    }
  }
}
