import AloftModel
import Logging

// A hypervisor that dies while a guest goes over to new layers may not know, when it is back, that QEMU has: then the guest goes back
// first. What its newest layer held is in the one below then, and an empty layer takes its place before the guest writes again: else old
// data would lie above new data when somebody goes over to it.

extension EffectPerformer {
  /// Brings a guest back to where its hypervisor believes it to write, one layer below the volume's newest; whether it was elsewhere.
  func bringBack(
    _ disk: DomainDisk, of vm: VMID, _ document: VolumeAssignment, _ stored: StoredVolume
  ) async throws(AgentFailure) -> Bool {
    guard try await hypervisor.isAhead(disk, of: vm, on: stored.source) else { return false }
    logger.warning(
      "a guest goes back to the layer that the hypervisor has for it",
      metadata: ["vm": "\(vm)", "volume": "\(document.volume)"])
    try await hypervisor.bringDown(disk, of: vm)
    let runs = try await hypervisor.domain(vm)?.power == .running
    if runs { try await hypervisor.suspend(vm) }
    // If this stops in the middle the guest stands still, and goes on by ``emptyLeaves(of:for:)``.
    try await hypervisor.goBack(disk, of: vm)
    try await pool(document.pool).emptyLeaf(of: document.volume)
    if runs { try await hypervisor.resume(vm) }
    return true
  }

  /// Before a guest that stands still goes on: what it has not gone over to has to be empty.
  func emptyLeaves(of documents: [VolumeAssignment], for vm: VMID) async throws(AgentFailure) {
    // libvirt goes on with what an earlier agent asked for, and lets the guest go on itself.
    guard try await !hypervisor.isWritingMemory(of: vm) else {
      throw AgentFailure(.changedMeanwhile, "the guest stands still while its memory is written")
    }
    for document in documents where try !pool(document.pool).takesSnapshotsInPlace {
      guard case .whole(let stored) = try await pool(document.pool).look(document.volume), stored.below != nil,
        let disk = try await liveDisk(document.volume, of: vm), disk.source == stored.below
      else { continue }
      if try await !bringBack(disk, of: vm, document, stored) {
        try await pool(document.pool).emptyLeaf(of: document.volume)
      }
    }
  }
}
