import AloftModel

/// What the layers of a directory pool have to do with each other, and who names them: a value without files.
///
/// Invariants
/// - A layer that somebody names, or that has one above it, is never removed.
/// - A layer that nobody names and that was not dropped is never removed either: whoever named it may be lost.
/// - An image is never merged into a layer.
struct LayerGraph: Sendable {
  struct Backing: Sendable, Hashable {
    enum Target: Sendable, Hashable {
      case layer(LayerID)
      /// By its SHA-256.
      case image(String)
    }

    var target: Target
    /// As QEMU names it: `qcow2`, `raw`.
    var format: String

    /// As it stands in the header of a layer.
    var name: String {
      switch target {
      case .layer(let layer): layer.fileName
      case .image(let sha256): "../images/" + sha256
      }
    }
  }

  private(set) var layers: [LayerID: Backing?] = [:]
  private(set) var manifests: [VolumeID: VolumeManifest] = [:]
  /// Layers that the volume which named them has let go of.
  var dropped: Set<LayerID> = []
  /// The layers that QEMUs copy into others, by those. They lie under them until all that was copied is written down.
  var pulled: [LayerID: LayerID] = [:]
  /// Layers that somebody works with just now, and how many do.
  private var held: [LayerID: Int] = [:]
  private var children: [LayerID: Set<LayerID>] = [:]
  private var namers: [LayerID: Set<VolumeID>] = [:]

  mutating func set(_ layer: LayerID, over backing: Backing?) {
    unlink(layer)
    layers[layer] = .some(backing)
    if case .layer(let below)? = backing?.target { children[below, default: []].insert(layer) }
  }

  mutating func remove(_ layer: LayerID) {
    unlink(layer)
    layers[layer] = nil
    dropped.remove(layer)
    pulled = pulled.filter { $0.key != layer && $0.value != layer }
  }

  private mutating func unlink(_ layer: LayerID) {
    if let backing = layers[layer], case .layer(let below)? = backing?.target { children[below]?.remove(layer) }
  }

  mutating func set(_ manifest: VolumeManifest) {
    remove(manifest.volume)
    manifests[manifest.volume] = manifest
    for layer in manifest.names { namers[layer, default: []].insert(manifest.volume) }
  }

  mutating func remove(_ volume: VolumeID) {
    for layer in manifests[volume]?.names ?? [] { namers[layer]?.remove(volume) }
    manifests[volume] = nil
  }

  mutating func hold(_ layer: LayerID) { held[layer, default: 0] += 1 }

  mutating func release(_ layer: LayerID) {
    let count = (held[layer] ?? 1) - 1
    held[layer] = count == 0 ? nil : count
  }

  func backing(of layer: LayerID) -> Backing? { layers[layer] ?? nil }
  func isNamed(_ layer: LayerID) -> Bool { namers[layer]?.isEmpty == false }
  func isHeld(_ layer: LayerID) -> Bool { held[layer] != nil }
  func children(of layer: LayerID) -> Set<LayerID> { children[layer] ?? [] }

  /// A layer and what is below it, from above.
  func chain(from top: LayerID) -> [LayerID] {
    var chain = [top]
    while case .layer(let below)? = chain.last.flatMap({ backing(of: $0)?.target }), !chain.contains(below) {
      chain.append(below)
    }
    return chain
  }

  /// All layers that a volume reads.
  func layers(of manifest: VolumeManifest) -> Set<LayerID> {
    manifest.names.reduce(into: []) { $0.formUnion(chain(from: $1)) }
  }

  /// The layers that only this volume reads.
  func ownLayers(of manifest: VolumeManifest) -> Set<LayerID> {
    let all = layers(of: manifest)
    var shared: Set<LayerID> = []
    func share(_ layer: LayerID) { for layer in chain(from: layer) { shared.insert(layer) } }
    for layer in all {
      let isSomebodyElses = namers[layer]?.contains { $0 != manifest.volume } == true
      if isSomebodyElses || !children(of: layer).isSubset(of: all) { share(layer) }
    }
    return all.subtracting(shared)
  }

  /// What a snapshot that was taken holds of a volume.
  func layer(of snapshot: SnapshotID, of volume: VolumeID) -> LayerID? {
    manifests[volume]?.snapshots.first { $0.id == snapshot && $0.takenAt != nil }?.layer
  }

  var usedImages: Set<String> {
    layers.values.reduce(into: []) { if case .image(let sha256)? = $1?.target { $0.insert(sha256) } }
  }

  /// What nobody needs.
  var removable: [LayerID] {
    dropped.filter { layers[$0] != nil && !isNamed($0) && children(of: $0).isEmpty && !isHeld($0) }
      .sorted { $0.name < $1.name }
  }

  /// What nobody needs, though nobody has let go of it either: whoever named it may be lost.
  var unowned: [LayerID] {
    layers.keys.filter { !dropped.contains($0) && !isNamed($0) && children(of: $0).isEmpty && !isHeld($0) }
  }

  private func isMergeable(_ layer: LayerID) -> Bool {
    dropped.contains(layer) && !isNamed(layer) && children(of: layer).count == 1
  }

  /// Two layers below a volume that can become one.
  func merge(below manifest: VolumeManifest) -> (layer: LayerID, child: LayerID)? {
    for layer in layers(of: manifest).sorted(by: { $0.name < $1.name }) where isMergeable(layer) {
      if let child = children(of: layer).first, canMerge(layer, child) { return (layer, child) }
    }
    return nil
  }

  /// Whether the two can still be merged.
  func canMerge(_ layer: LayerID, _ child: LayerID) -> Bool {
    isMergeable(layer) && children(of: layer) == [child] && !isHeld(layer) && !isHeld(child)
  }

  /// The volumes that read a layer.
  func readers(of layer: LayerID) -> [VolumeID] {
    var found: Set<VolumeID> = []
    var pending = [layer]
    while let next = pending.popLast() {
      found.formUnion(namers[next] ?? [])
      pending += children(of: next)
    }
    return found.sorted { $0.description < $1.description }
  }
}
