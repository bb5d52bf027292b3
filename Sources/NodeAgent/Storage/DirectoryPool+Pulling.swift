import AloftModel

// A guest's QEMU copies what a layer has into the one above it, and then writes into that one's header that it lies over what is below
// both. QEMU 7.2 writes the header at once, but keeps in memory where the copied data is until something is flushed: killed in
// between, it leaves a layer that reads old data. So what is done is written down before it begins, in `layers/<lower>.pulled`, and
// until QEMU was seen to flush, the lower layer stays and counts. If the guest ends before that, the header is set back: what the upper
// layer has is right, and what it has not is still in the lower one.

extension DirectoryPool {
  func beginPull(_ merge: LayerMerge) throws(AgentFailure) {
    let (layer, child) = (LayerID(merge.layer), LayerID(merge.child))
    guard unreadable.isEmpty, graph.canMerge(layer, child) else {
      throw AgentFailure(.changedMeanwhile, "layer \(layer) is not to be merged into \(child) any more")
    }
    if graph.pulled[child] == layer { return }
    try checkpoint("marking a layer as pulled")
    try FileSystem.replace(pullMarker(of: layer), with: Array(child.name.utf8))
    graph.pulled[child] = layer
  }

  func settlePull(_ merge: LayerMerge) throws(AgentFailure) {
    let (layer, child) = (LayerID(merge.layer), LayerID(merge.child))
    guard graph.pulled[child] == layer else { return }
    let below = graph.backing(of: layer)
    guard try header(of: child).backing == below else {
      throw AgentFailure(.changedMeanwhile, "layer \(child) still lies over \(layer)")
    }
    try FileSystem.sync(file: path(of: child))
    try endPull(of: layer, into: child)
    graph.set(child, over: below)
    try collect()
  }

  func undoPull(_ merge: LayerMerge) async throws(AgentFailure) {
    let (layer, child) = (LayerID(merge.layer), LayerID(merge.child))
    guard graph.pulled[child] == layer else { return }
    let over = LayerGraph.Backing(target: .layer(layer), format: "qcow2")
    if try header(of: child).backing != over {
      try checkpoint("putting a layer back over another")
      let key = try key(of: child, readBy: merge.volumes)
      // `-u`: no data is looked at.
      try await qemuImage("rebase", ["-u", "-F", over.format, "-b", over.name] + opening(child, with: key), key: key)
      try FileSystem.sync(file: path(of: child))
    }
    try endPull(of: layer, into: child)
  }

  private func endPull(of layer: LayerID, into child: LayerID) throws(AgentFailure) {
    try checkpoint("deleting a marker of a pulled layer")
    try FileSystem.delete(pullMarker(of: layer))
    try FileSystem.syncFolder(layersFolder)
    graph.pulled[child] = nil
  }

  /// What is said of the layers that were being merged when an earlier process ended.
  func loadPulls(_ names: [String]) throws(AgentFailure) {
    for name in names where name.hasSuffix(".pulled") {
      let layer = LayerID(String(name.dropLast(7)))
      let child = LayerID(String(decoding: try FileSystem.readAll(pullMarker(of: layer)), as: UTF8.self))
      guard graph.layers[layer] != nil, graph.layers[child] != nil else {
        // While a layer cannot be read nothing is forgotten.
        if unreadable.isEmpty { try FileSystem.delete(pullMarker(of: layer)) }
        continue
      }
      graph.set(child, over: LayerGraph.Backing(target: .layer(layer), format: "qcow2"))
      graph.pulled[child] = layer
    }
  }

  /// Whether a layer's file says what it may say: what it lies over, or, where that is merged into it, what is below that.
  func isExpected(_ backing: LayerGraph.Backing?, of layer: LayerID) -> Bool {
    graph.backing(of: layer) == backing || graph.pulled[layer].map { graph.backing(of: $0) == backing } ?? false
  }

  /// What is being merged, or was, by the QEMU of a volume's guest.
  func pull(of manifest: VolumeManifest) throws(AgentFailure) -> LayerPull? {
    for child in graph.chain(from: manifest.leaf) {
      guard let layer = graph.pulled[child] else { continue }
      return LayerPull(
        merge: merge(layer, child), isCopied: try header(of: child).backing?.target != .layer(layer))
    }
    return nil
  }
}
