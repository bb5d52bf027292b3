import AloftModel
import Crypto
import Execution
import Glibc

// What is to become an image: one qcow2 file, made of all layers below a snapshot. It stays until nobody wants it any more, so
// that a broken transfer, or a new agent, goes on in the middle of the same bytes.

extension DirectoryPool {
  nonisolated var exportsFolder: String { root + "/exports" }
  private func path(ofExport image: ImageID) -> String { "\(exportsFolder)/\(image).qcow2" }

  func export(
    _ export: VolumeAssignment.Export, of volume: VolumeID,
    begin: @escaping @Sendable () async throws(AgentFailure) -> Void,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) -> ExportedFile {
    let path = path(ofExport: export.image)
    if !FileSystem.exists(path) {
      guard let layer = graph.layer(of: export.snapshot, of: volume) else {
        throw AgentFailure(.volumeDamaged, "pool \(name) has no snapshot \(export.snapshot) of \(volume)")
      }
      if try header(of: layer).isEncrypted {
        throw AgentFailure(.unsupported, "\(volume) is encrypted; an image of it would not be")
      }
      let chain = graph.chain(from: layer)
      for layer in chain { graph.hold(layer) }
      let result = await made(of: layer, path, begin, progress)
      for layer in chain { graph.release(layer) }
      try collect()
      try result.get()
      exported[export.image] = nil
    }
    if let known = exported[export.image] { return known }
    let file = try await DedicatedThread(name: "export-hash").run { () throws(AgentFailure) in try Self.read(path) }
    exported[export.image] = file
    return file
  }

  private func made(
    of layer: LayerID, _ path: String, _ begin: @Sendable () async throws(AgentFailure) -> Void,
    _ progress: @escaping @Sendable (Int, Int) -> Void
  ) async -> Result<Void, AgentFailure> {
    let temporary = "\(exportsFolder)/.\(UInt64.random(in: .min ... .max))"
    defer { unlink(temporary) }
    do throws(AgentFailure) {
      let size = try await measure(layer)
      try requireSpace(for: size)
      try checkpoint("exporting a snapshot")
      progress(0, size)
      // `-U`: guests and others may have the layers open, which nobody writes to.
      try await Tool.run(
        "qemu-img", ["convert", "-U", "-p", "-f", "qcow2", "-O", "qcow2", self.path(of: layer), temporary]
      ) { part in progress(Int(part * Double(size)), size) }
      try FileSystem.sync(file: temporary)
      try await begin()
      try checkpoint("naming an export")
      try FileSystem.move(temporary, to: path)
      try FileSystem.syncFolder(exportsFolder)
      return .success(())
    } catch { return .failure(error) }
  }

  /// How large a file with all of it is, at most.
  private func measure(_ layer: LayerID) async throws(AgentFailure) -> Int {
    let text = try await Tool.output("qemu-img", ["measure", "-U", "-f", "qcow2", "-O", "qcow2", path(of: layer)])
    let number = text.split(separator: ";").first.flatMap { $0.split(separator: ":").last }
    guard let number, let size = Int(number.drop { $0 == " " }) else {
      throw AgentFailure(.hypervisorRefused, "qemu-img measure says \(text)")
    }
    return size
  }

  private static func read(_ path: String) throws(AgentFailure) -> ExportedFile {
    try FileSystem.withFile(path, O_RDONLY) { file throws(AgentFailure) in
      var hash = SHA256()
      var size = 0
      while true {
        let piece = try FileSystem.read(file, path, from: size, count: 1 << 20)
        if piece.isEmpty { break }
        hash.update(data: piece)
        size += piece.count
      }
      return ExportedFile(path: path, sizeBytes: size, sha256: Array(hash.finalize()))
    }
  }

  func removeExports(but wanted: Set<ImageID>) throws(AgentFailure) {
    for name in FileSystem.names(in: exportsFolder) where name.hasSuffix(".qcow2") && !name.hasPrefix(".") {
      guard let image = ImageID(String(name.dropLast(6))), !wanted.contains(image) else { continue }
      try FileSystem.delete("\(exportsFolder)/\(name)")
      exported[image] = nil
    }
  }
}
