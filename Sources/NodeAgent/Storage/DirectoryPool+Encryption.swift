import AloftModel
import JSON

// Encrypted volumes: LUKS inside qcow2. A layer can be looked at without its key, but neither opened nor made.

/// What a layer's file says of itself.
struct LayerHeader: Sendable {
  var sizeBytes: Int
  var isEncrypted: Bool
  var backing: LayerGraph.Backing?

  func over(_ backing: LayerGraph.Backing) -> LayerHeader {
    LayerHeader(sizeBytes: sizeBytes, isEncrypted: isEncrypted, backing: backing)
  }
}

extension DirectoryPool {
  func unlock(_ volume: VolumeID, with key: VolumeKey) async throws(AgentFailure) { keys[volume] = key }

  /// The key of a layer that one of the volumes reads; nil if it is not encrypted.
  func key(of layer: LayerID, readBy volumes: VolumeID...) throws(AgentFailure) -> VolumeKey? {
    try key(of: layer, readBy: volumes)
  }

  /// The same: all that share layers have the same key.
  func key(of layer: LayerID, readBy volumes: [VolumeID]) throws(AgentFailure) -> VolumeKey? {
    guard try header(of: layer).isEncrypted else { return nil }
    guard let key = volumes.lazy.compactMap({ self.keys[$0] }).first else {
      throw AgentFailure(.volumeLocked, "the key of \(volumes.first?.description ?? "a volume") is not here")
    }
    return key
  }

  /// How `qemu-img` is to open a layer: by its path, or with what has the keys of all layers below it.
  func opening(_ layer: LayerID, with key: VolumeKey?) -> [String] {
    guard key != nil else { return ["-f", "qcow2", path(of: layer)] }
    return ["json:\(JSONValue.object(node(of: layer)).description)"]
  }

  /// An encrypted layer with all that is below it, as QEMU describes it.
  func node(of layer: LayerID) -> JSONObject { node(layer, over: graph.chain(from: layer).dropFirst()) }

  /// An encrypted layer alone.
  static func node(ofFile path: String) -> JSONObject {
    [
      "driver": "qcow2", "file": file(path),
      "encrypt": ["format": "luks", "key-secret": .string(Tool.secretName)],
    ]
  }

  private func node(_ layer: LayerID, over chain: ArraySlice<LayerID>) -> JSONObject {
    var node = Self.node(ofFile: path(of: layer))
    if let next = chain.first {
      node["backing"] = .object(self.node(next, over: chain.dropFirst()))
    } else if let backing = graph.backing(of: layer), case .image = backing.target {
      node["backing"] = ["driver": .string(backing.format), "file": Self.file(path(of: backing.target))]
    } else {
      node["backing"] = .null
    }
    return node
  }

  private static func file(_ path: String) -> JSONValue { ["driver": "file", "filename": .string(path)] }

  /// Runs `qemu-img`, which gets the key by a pipe.
  func qemuImage(_ command: String, _ arguments: [String], key: VolumeKey?) async throws(AgentFailure) {
    try await Tool.run(
      "qemu-img", [command, "-q"] + (key == nil ? [] : Tool.secretArguments) + arguments,
      secret: key.map { Array($0.text.utf8) })
  }

  /// What makes a new layer an encrypted one. The key is random already: hardening it by work would only make each opening slow.
  static let encryptedLayer = [
    "-o", "encrypt.format=luks,encrypt.key-secret=\(Tool.secretName),encrypt.iter-time=10",
  ]

  /// What QEMU is told of a volume's layers; nil if they are not encrypted.
  func encryption(of manifest: VolumeManifest) throws(AgentFailure) -> DiskEncryption? {
    guard try header(of: manifest.leaf).isEncrypted else { return nil }
    let chain = graph.chain(from: manifest.leaf)
    var encryption = DiskEncryption(below: chain.dropFirst().map { path(of: $0) })
    if let backing = chain.last.flatMap({ graph.backing(of: $0) }), case .image = backing.target {
      encryption.base = DiskEncryption.Base(path: path(of: backing.target), format: backing.format)
    }
    return encryption
  }
}
