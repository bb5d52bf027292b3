import AloftModel

extension DirectoryPool {
  /// What files beside layers end with.
  private static let markers = [".dropped", ".pulled", ".new"]

  /// Files as they are now, also those that somebody else has put there. Names that begin with a dot are half made.
  func contents() -> PoolContents {
    var contents = PoolContents(volumes: Set(graph.manifests.keys))
    for name in FileSystem.names(in: volumesFolder) where !name.hasPrefix(".") && !name.hasSuffix(".new") {
      if let volume = name.hasSuffix(".json") ? VolumeID(String(name.dropLast(5))) : Self.volume(ofCopy: name) {
        contents.volumes.insert(volume)
      } else {
        contents.unowned.append("volumes/\(name)")
      }
    }
    contents.unowned += unownedMemory.map { "memory/\($0)" }
    let unowned = Set(graph.unowned.map(\.fileName))
    for name in FileSystem.names(in: layersFolder)
    where !name.hasPrefix(".") && !Self.markers.contains(where: { name.hasSuffix($0) }) {
      let isKnown = name.hasSuffix(".qcow2") && graph.layers[LayerID(String(name.dropLast(6)))] != nil
      if unowned.contains(name) || !isKnown { contents.unowned.append("layers/\(name)") }
    }
    contents.unowned.sort()
    return contents
  }
}
