import AloftModel

extension AgentMachine {
  /// A volume that is copied at rest is kept from its VM as long as that takes. If something else is wanted now the copy ends, and is begun
  /// anew later, perhaps under the guest.
  ///
  /// - Parameter news: documents of VMs that have just changed.
  mutating func stopCopies(for news: [Assignment], _ effects: inout [AgentEffect]) {
    let wanted = Set(news.filter { $0.power == .running || $0.deleted }.flatMap { $0.disks.map(\.volume) })
    let changed = Set(news.filter(\.deleted).map(\.vm))
    for volume in volumeOrder {
      guard let entry = volumes[volume], case .performing(.copy(let pool)) = entry.turn.work else { continue }
      let isWanted = entry.document.map { document in
        !document.deleted && document.released != true && document.move?.isGivenUp == nil
          && document.move?.pool == pool && document.vm == entry.planned?.vm
          && document.vm.map { !changed.contains($0) } != false
      }
      if isWanted != true || wanted.contains(volume) { effects.append(.stopCopy(volume, pool: pool)) }
    }
  }
}
