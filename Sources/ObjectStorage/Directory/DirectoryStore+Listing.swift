import FoundationEssentials
import Glibc

extension DirectoryStore {
  public func list(prefix: String, continuation: String?, limit: Int) async throws(ObjectStoreError) -> ObjectPage {
    let root = root
    return try await thread.run { () throws(ObjectStoreError) in
      // The order of names in a folder is not that of keys (`a-b` is before `a/b`), so all are looked at.
      var keys: [ObjectKey] = []
      try Self.collect(root, "", prefix, &keys)
      keys.sort()
      let rest =
        continuation.map { after in keys.drop { !after.utf8.lexicographicallyPrecedes($0.text.utf8) } } ?? keys[...]
      let page = rest.prefix(min(max(limit, 1), 1000))
      var objects: [ObjectInfo] = []
      for key in page {
        do throws(ObjectStoreError) { objects.append(try Self.info(key, "\(root)/\(key.text)")) } catch .notFound {
          continue
        }
      }
      return ObjectPage(objects: objects, next: page.count < rest.count ? page.last?.text : nil)
    }
  }

  private static func collect(
    _ root: String, _ folder: String, _ prefix: String, _ keys: inout [ObjectKey]
  ) throws(ObjectStoreError) {
    for name in try FileCalls.names(in: "\(root)/\(folder)") {
      let path = folder + name
      // Either may be the longer one: a folder on the way to the prefix, or something in it.
      guard path.hasPrefix(prefix) || prefix.hasPrefix(path), let key = try? ObjectKey(path) else { continue }
      var status = Glibc.stat()
      guard lstat("\(root)/\(path)", &status) == 0 else { continue }
      switch status.st_mode & S_IFMT {
      case S_IFDIR: try collect(root, path + "/", prefix, &keys)
      case S_IFREG: if path.hasPrefix(prefix) { keys.append(key) }
      default: break
      }
    }
  }

  public func leftovers(before date: Date) async throws(ObjectStoreError) -> [UploadLeftover] {
    let root = root
    return try await thread.run { () throws(ObjectStoreError) in
      var found: [UploadLeftover] = []
      for id in try FileCalls.names(in: "\(root)/\(Self.uploads)").sorted() {
        let file = open("\(root)/\(Self.uploads)/\(id)", O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { continue }
        defer { close(file) }
        var status = Glibc.stat()
        guard fstat(file, &status) == 0, status.modified < date, flock(file, LOCK_EX | LOCK_NB) == 0 else { continue }
        found.append(UploadLeftover(id: id, key: nil, date: status.modified))
      }
      return found
    }
  }

  public func discard(_ leftover: UploadLeftover) async throws(ObjectStoreError) {
    guard !leftover.id.contains("/"), !leftover.id.hasPrefix(".") else { return }
    let path = uploadPath(leftover.id)
    try await thread.run { () throws(ObjectStoreError) in
      let file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
      guard file >= 0 else {
        if errno == ENOENT { return }
        throw FileCalls.failure("opening an upload")
      }
      defer { close(file) }
      // Somebody may have come back to it.
      guard flock(file, LOCK_EX | LOCK_NB) == 0 else { throw .uploadInUse }
      guard unlink(path) == 0 || errno == ENOENT else { throw FileCalls.failure("removing an upload") }
    }
  }
}
