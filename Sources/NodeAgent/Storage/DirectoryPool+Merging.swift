import AloftModel

// A layer that nobody names and that has one layer above it becomes one with that. What is read through either never changes,
// at no moment: the host may die anywhere, and whoever comes next may merge the other way.

extension DirectoryPool {
  func merge(_ merge: LayerMerge) async throws(AgentFailure) {
    let (layer, child) = (LayerID(merge.layer), LayerID(merge.child))
    guard unreadable.isEmpty, graph.canMerge(layer, child), graph.pulled[child] == nil else { return }
    graph.hold(layer)
    graph.hold(child)
    let result = await result { () async throws(AgentFailure) in
      try await mergeHeld(layer, child, readBy: merge.volumes)
    }
    graph.release(layer)
    graph.release(child)
    try result.get()
    try collect()
  }

  private func result(_ body: () async throws(AgentFailure) -> Void) async -> Result<Void, AgentFailure> {
    do throws(AgentFailure) { return .success(try await body()) } catch { return .failure(error) }
  }

  private func mergeHeld(
    _ layer: LayerID, _ child: LayerID, readBy volumes: [VolumeID]
  ) async throws(AgentFailure) {
    let below = graph.backing(of: layer)
    let key = try key(of: child, readBy: volumes)
    // `qemu-img rebase` opens what is below anew by its name, and so without its key.
    if key != nil || FileSystem.blocks(of: path(of: child)) < FileSystem.blocks(of: path(of: layer)) {
      try await commit(child, into: layer, key)
      // Who names the upper one finds everything there.
      try checkpoint("putting a merged layer in place")
      try FileSystem.move(path(of: layer), to: path(of: child))
      try FileSystem.syncFolder(layersFolder)
      graph.remove(layer)
      graph.set(child, over: below)
      try checkpoint("deleting a marker")
      try FileSystem.delete(marker(of: layer))
    } else {
      try await pull(layer, into: child, below)
      graph.set(child, over: below)
    }
  }

  /// Copies what the upper layer has into the lower one, which then reads as the upper one does.
  private func commit(_ child: LayerID, into layer: LayerID, _ key: VolumeKey?) async throws(AgentFailure) {
    try requireSpace(for: FileSystem.blocks(of: path(of: child)))
    try checkpoint("committing a layer")
    // `-d`: the upper one keeps its data, so that it reads the same until it is replaced.
    try await qemuImage("commit", ["-d"] + opening(child, with: key), key: key)
    try FileSystem.sync(file: path(of: layer))
  }

  /// Copies what the lower layer has, and the upper one hides not, into the upper one.
  private func pull(
    _ layer: LayerID, into child: LayerID, _ below: LayerGraph.Backing?
  ) async throws(AgentFailure) {
    try requireSpace(for: FileSystem.blocks(of: path(of: layer)))
    try checkpoint("rebasing a layer")
    let base = below.map { ["-F", $0.format, "-b", $0.name] } ?? ["-b", ""]
    try await Tool.run("qemu-img", ["rebase", "-q", "-f", "qcow2"] + base + [path(of: child)])
    try FileSystem.sync(file: path(of: child))
  }
}
