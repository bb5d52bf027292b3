import AloftModel

// What is on the node though no document needs it: left by a control plane whose database was put back, by a node that was
// removed and joined again, or by a fault of ours. The agent tells, and leaves it alone; an operator decides. The same holds for pools
// that nodes share, of which the control plane knows what is to be there; one node looks.

extension AgentMachine {
  /// How many are told.
  private static let mostOrphans = 100

  /// An entry is there before anything is made for it, and stays until the control plane has confirmed that all of it is gone, so
  /// what was seen is compared with what is known when it has been seen.
  mutating func takeContents(_ result: Result<NodeContents, AgentFailure>, _ now: AgentTime) {
    finish(\.contents, failed: result.failed, every: options.contentsInterval, now.uptime)
    guard case .success(let found) = result else { return }
    var orphans = order.filter { vms[$0]?.document == nil && vms[$0]?.actual?.domain != nil }
      .map { "virtual machine \($0)" }
    for vm in found.vms where vms[vm] == nil && tombstones[vm] == nil { orphans.append("files of \(vm)") }
    for (name, pool) in found.pools {
      for volume in pool.volumes where volumes[volume] == nil && volumeTombstones[volume] == nil {
        orphans.append("volume \(volume) in pool \(name)")
      }
      orphans += pool.unowned.map { "file \($0) in pool \(name)" } + pool.findings
    }
    orphans.sort()
    if orphans.count > Self.mostOrphans {
      orphans = orphans.prefix(Self.mostOrphans) + ["and \(orphans.count - Self.mostOrphans) more"]
    }
    if self.orphans != orphans { heartbeat.at = min(heartbeat.at, now.uptime) }
    self.orphans = orphans
  }
}
