import AloftModel

extension RBDPool {
  private static let base = RBDName.baseSnapshot

  func hasImage(_ sha256: String) async -> Bool { (try? await holds(sha256)) == true }

  /// Throws where the cluster does not say.
  private func holds(_ sha256: String) async throws(AgentFailure) -> Bool {
    try await images.has(Self.base, of: RBDName.image(sha256))
  }

  /// Nodes that need the same image at the same time may each bring it in; the first one's stays.
  func fetch(
    _ image: Assignment.BaseImage, from source: ImageSource, progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {
    if await hasImage(image.sha256) { return }
    // There it is checked before anything else opens it.
    try await cache.fetch(image, from: source, progress: progress)
    let target = RBDName.image(image.sha256)
    let file = await cache.path(ofImage: image.sha256.lowercased())
    try await withTemporary { temporary async throws(AgentFailure) in
      try checkpoint("bringing an image in")
      try await Tool.run(
        "qemu-img",
        ["convert", "-q", "-f", image.format.rawValue, "-O", "raw", file, rbd.access.qemuName(temporary)])
      try await images.createSnapshot(Self.base, of: temporary)
      try checkpoint("naming an image")
      if try await images.rename(temporary, to: target) {
        logger.info("image brought into a pool", metadata: ["pool": "\(name)", "image": "\(image.id)"])
        return
      }
      if try await holds(image.sha256) { return }
      // Another node was about to remove it.
      try await discard(target)
      guard try await images.rename(temporary, to: target) else {
        throw AgentFailure(.changedMeanwhile, "another node brings \(target) in")
      }
    }
  }

  /// For how many milliseconds nothing may need an image before it is removed, and which part of the pool must be free for that.
  private static let imageGrace = 3_600_000
  private static let roomyPart = 10

  func removeImages(but wanted: Set<String>, uptime: Int) async throws(AgentFailure) {
    // It may take longer than until the next time.
    if isTidying { return }
    isTidying = true
    defer { isTidying = false }
    // A cluster that does not answer keeps nothing else from being tidied.
    do throws(AgentFailure) { try await tidy(wanted, uptime) } catch {
      logger.warning("a storage pool was not tidied", metadata: ["pool": "\(name)", "failure": "\(error)"])
    }
  }

  private struct TrashLine: Decodable {
    var id: String
    var name: String
  }

  private func tidy(_ wanted: Set<String>, _ uptime: Int) async throws(AgentFailure) {
    let names = try await images.names()
    try await removeTemporaries(among: names, uptime)
    let kept = Set(wanted.map(RBDName.image))
    let candidates = names.filter { $0.hasPrefix(RBDName.imagePrefix) && !kept.contains($0) }
    unusedImages = unusedImages.filter { candidates.contains($0.key) }
    let isShort = latest.problem == nil && latest.freeBytes < latest.totalBytes / Self.roomyPart
    for name in candidates {
      let since = unusedImages[name] ?? uptime
      unusedImages[name] = since
      guard isShort || uptime - since >= Self.imageGrace else { continue }
      if try await hasClones(name) {
        unusedImages[name] = uptime
        continue
      }
      logger.info("removing an image that nothing needs", metadata: ["pool": "\(self.name)", "image": "\(name)"])
      await discardIfPossible(name)
      unusedImages[name] = nil
    }
    try await emptyTrash()
  }

  private func hasClones(_ image: String) async throws(AgentFailure) -> Bool {
    guard let bytes = try await rbd.find("children", "--all", "--format", "json", "\(image)@\(Self.base)") else {
      return false
    }
    return try !RBDCommand.decode(bytes, as: [Clone].self).isEmpty
  }

  private struct Clone: Decodable { var image: String }

  /// Removes what clones needed and need no more; Ceph refuses the rest.
  private func emptyTrash() async throws(AgentFailure) {
    let lines = try RBDCommand.decode(try await rbd.read("trash", "ls", "--format", "json"), as: [TrashLine].self)
    for line in lines where line.name.hasPrefix(RBDName.prefix) {
      do throws(AgentFailure) { _ = try await rbd.works("trash", "rm", "--no-progress", line.id) } catch {
        guard error.kind == .volumeInUse else { throw error }
      }
    }
  }
}
