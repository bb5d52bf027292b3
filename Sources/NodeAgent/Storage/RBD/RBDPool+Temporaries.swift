import AloftModel

// Images that are needed only as long as a process works with them: `aloft.temporary.<node>.<random>`. No manifest names them, so it is
// found out whether somebody still works with one: this process knows its own; what another process of this node has made is left
// over, since only one at a time has the data directory; and what is another node's is so when it was not open for an hour.

extension RBDPool {
  /// For how many milliseconds nobody may have had another node's open.
  private static let abandonedGrace = 3_600_000

  /// Lets `body` make an image that is gone afterwards, whatever becomes of it.
  func withTemporary(
    _ body: (String) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) {
    let image = RBDName.temporaryPrefix(of: try await cache.mark()) + UInt64.randomName
    temporaries.insert(image)
    let result = await attempt { () async throws(AgentFailure) in try await body(image) }
    await discardIfPossible(image)
    temporaries.remove(image)
    try result.get()
  }

  func attempt(_ body: () async throws(AgentFailure) -> Void) async -> Result<Void, AgentFailure> {
    do throws(AgentFailure) { return .success(try await body()) } catch { return .failure(error) }
  }

  /// What cannot be removed now is tried again when the pool is tidied.
  @discardableResult
  func discardIfPossible(_ image: String) async -> Bool {
    do throws(AgentFailure) {
      try await discard(image)
      return true
    } catch {
      logger.warning(
        "an image that nothing needs is left for later",
        metadata: ["pool": "\(name)", "image": "\(image)", "failure": "\(error)"])
      return false
    }
  }

  /// Removes what was left of those among `names`, all images of the pool.
  func removeTemporaries(among names: [String], _ uptime: Int) async throws(AgentFailure) {
    let own = RBDName.temporaryPrefix(of: try await cache.mark())
    let found = names.filter { $0.hasPrefix(RBDName.temporaryPrefix) && !temporaries.contains($0) }
    abandoned = abandoned.filter { found.contains($0.key) }
    overdue = []
    for image in found {
      let isOwn = image.hasPrefix(own)
      let isOpen = isOwn ? false : try await isWatched(image)
      if isOpen {
        abandoned[image] = nil
        continue
      }
      let since = abandoned[image] ?? uptime
      abandoned[image] = since
      let isLate = uptime - since >= Self.abandonedGrace
      guard isOwn || isLate else { continue }
      if await !discardIfPossible(image), isLate { overdue.insert(image) }
    }
  }
}

extension DirectoryPool {
  /// What tells this directory from those of other nodes: 32 digits, the same as long as it exists.
  func mark() throws(AgentFailure) -> String {
    let path = "\(root)/mark"
    if FileSystem.exists(path) {
      let text = String(decoding: try FileSystem.readAll(path), as: UTF8.self)
      if text.count == 32, text.allSatisfy({ $0.isHexDigit }) { return text }
    }
    let mark = UInt64.randomName
    try FileSystem.replace(path, with: Array(mark.utf8))
    return mark
  }
}
