import AloftModel

extension DirectoryPool {
  func look(_ volume: VolumeID) throws(AgentFailure) -> VolumeLook {
    guard FileSystem.exists(path(of: volume)) else {
      return graph.manifests[volume] == nil ? .absent : .damaged("its manifest \(path(of: volume)) is missing")
    }
    guard let manifest = try readManifest(volume) else {
      return .damaged("its manifest \(path(of: volume)) is damaged")
    }
    if let known = graph.manifests[volume] {
      if known != manifest {
        return .damaged("its manifest \(path(of: volume)) was changed by somebody else; restart the agent to use it")
      }
    } else {
      // Somebody has put it back.
      graph.set(manifest)
      unreadable.remove("\(volume).json")
    }
    let layers = graph.layers(of: manifest)
    for layer in layers.sorted(by: { $0.name < $1.name }) where graph.layers[layer] != nil || isNeeded(layer, manifest)
    {
      if let damage = damage(of: layer) { return .damaged(damage) }
    }
    return .whole(try stored(manifest))
  }

  /// Looking at the layers above may have shown that one is not read any more.
  private func isNeeded(_ layer: LayerID, _ manifest: VolumeManifest) -> Bool {
    graph.layers(of: manifest).contains(layer)
  }

  /// What is wrong with a layer.
  private func damage(of layer: LayerID) -> String? {
    guard FileSystem.exists(path(of: layer)) else { return "its layer \(path(of: layer)) is missing" }
    do throws(AgentFailure) {
      let backing = try header(of: layer).backing
      guard isExpected(backing, of: layer) else {
        return "its layer \(path(of: layer)) lies over \(backing?.name ?? "nothing"), which was not so before"
      }
      if case .image(let sha256)? = backing?.target, !FileSystem.exists(path(ofImage: sha256)) {
        return "the image \(path(ofImage: sha256)) that it was cloned from is missing"
      }
      return nil
    } catch { return error.detail }
  }

  private func stored(_ manifest: VolumeManifest) throws(AgentFailure) -> StoredVolume {
    let chain = graph.chain(from: manifest.leaf)
    return StoredVolume(
      epoch: manifest.epoch, sizeBytes: try header(of: manifest.leaf).sizeBytes,
      usedBytes: graph.ownLayers(of: manifest).reduce(0) { $0 + FileSystem.blocks(of: path(of: $1)) },
      snapshots: manifest.snapshots.map {
        .init(id: $0.id, takenAt: $0.takenAt, quiesced: $0.quiesced, memoryBytes: $0.memoryBytes)
      },
      source: .file(path(of: manifest.leaf)),
      below: chain.dropFirst().first.map { .file(path(of: $0)) }, earlier: earlier(manifest), depth: chain.count,
      merge: graph.merge(below: manifest).map { merge($0.layer, $0.child) }, pull: try pull(of: manifest),
      encryption: try encryption(of: manifest))
  }

  private func earlier(_ manifest: VolumeManifest) -> [DiskSource] {
    manifest.snapshots.filter { $0.takenAt == nil }.map { .file(path(of: $0.layer)) }
  }

  func merge(_ layer: LayerID, _ child: LayerID) -> LayerMerge {
    let readers = graph.readers(of: child)
    let tops = readers.flatMap { volume -> [DiskSource] in
      graph.manifests[volume].map { [.file(path(of: $0.leaf))] + earlier($0) } ?? []
    }
    return LayerMerge(
      layer: layer.name, child: child.name, layerSource: .file(path(of: layer)), childSource: .file(path(of: child)),
      volumes: readers, tops: tops)
  }
}
