import Execution
import FoundationEssentials
import Glibc

/// An upload into a ``DirectoryStore``: a locked file, and a thread that writes it.
actor DirectoryUpload: ObjectUpload {
  private let store: DirectoryStore
  private let thread: DedicatedThread
  private let file: Int32
  private(set) var state: UploadState
  private(set) var position: Int64
  /// Of everything up to `position`.
  private var hash: RunningHash
  private var isOver = false

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  static func open(
    _ state: UploadState, in store: DirectoryStore, isNew: Bool
  ) async throws(ObjectStoreError) -> DirectoryUpload {
    let thread = DedicatedThread(name: "object-write")
    let path = store.uploadPath(state.id)
    let file = try await thread.run { () throws(ObjectStoreError) in try openFile(path, state, isNew) }
    return DirectoryUpload(store, thread, file, state)
  }

  private init(_ store: DirectoryStore, _ thread: DedicatedThread, _ file: Int32, _ state: UploadState) {
    self.store = store
    self.thread = thread
    self.file = file
    self.state = state
    position = state.durableBytes
    hash = state.hash
  }

  // Gives the lock up too.
  deinit { close(file) }

  /// Opens and locks the file, and cuts off what is not known to be durable.
  private static func openFile(_ path: String, _ state: UploadState, _ isNew: Bool) throws(ObjectStoreError) -> Int32 {
    let file = Glibc.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (isNew ? O_CREAT | O_EXCL : 0), 0o600)
    guard file >= 0 else {
      if errno == ENOENT && !isNew { throw .unknownUpload }
      throw FileCalls.failure("opening an upload")
    }
    do throws(ObjectStoreError) {
      guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
        if errno == EWOULDBLOCK { throw .uploadInUse }
        throw FileCalls.failure("locking an upload")
      }
      var status = stat()
      guard fstat(file, &status) == 0 else { throw FileCalls.failure("looking at an upload") }
      // Whoever had the lock until now may have finished or removed it.
      guard status.st_nlink > 0, isStill(path, status) else { throw .unknownUpload }
      guard Int64(status.st_size) >= state.durableBytes else { throw .uploadDamaged }
      guard ftruncate(file, off_t(state.durableBytes)) == 0 else { throw FileCalls.failure("cutting an upload") }
      if isNew {
        guard fsync(file) == 0 else { throw FileCalls.failure("syncing an upload") }
        try FileCalls.syncFolder(String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)]))
      }
      return file
    } catch {
      close(file)
      throw error
    }
  }

  private static func isStill(_ path: String, _ status: stat) -> Bool {
    var named = stat()
    return fstatat(AT_FDCWD, path, &named, 0) == 0 && named.st_ino == status.st_ino && named.st_dev == status.st_dev
  }

  var sha256: String { hash.hexadecimal }

  func append(_ bytes: [UInt8], at offset: Int64) throws(ObjectStoreError) -> Int64 {
    try requireOpen()
    guard offset == position else { throw .wrongOffset(expected: position) }
    if let size = state.size, Int64(bytes.count) > size - position { throw .tooLarge(limit: size) }
    do throws(ObjectStoreError) {
      try FileCalls.write(bytes, to: file, at: position)
    } catch {
      goBack()
      throw error
    }
    hash.add(bytes)
    position += Int64(bytes.count)
    if position - state.durableBytes >= DirectoryStore.syncBytes || position == state.size { return try flush() }
    return state.durableBytes
  }

  func flush() throws(ObjectStoreError) -> Int64 {
    try requireOpen()
    guard position > state.durableBytes else { return state.durableBytes }
    guard fdatasync(file) == 0 else {
      let failure = FileCalls.failure("syncing an upload")
      // What the kernel could not write it may have forgotten, and says so only once.
      goBack()
      throw failure
    }
    state.durableBytes = position
    state.hash = hash
    return position
  }

  func finish(size: Int64, sha256: String) throws(ObjectStoreError) -> ObjectInfo {
    try requireOpen()
    guard position == size else { throw .sizeMismatch(expected: size, actual: position) }
    let digest = hash.hexadecimal
    guard digest == sha256.lowercased() else { throw .checksumMismatch(expected: sha256.lowercased(), actual: digest) }
    _ = try flush()
    // The size too, and the time.
    guard fsync(file) == 0 else { throw FileCalls.failure("syncing an upload") }
    let target = store.path(state.key)
    try place(at: target)
    isOver = true
    return try DirectoryStore.info(state.key, target)
  }

  func abort() throws(ObjectStoreError) {
    try requireOpen()
    isOver = true
    guard unlink(store.uploadPath(state.id)) == 0 || errno == ENOENT else {
      throw FileCalls.failure("removing an upload")
    }
  }

  private func requireOpen() throws(ObjectStoreError) {
    guard !isOver else { throw .unknownUpload }
  }

  private func goBack() {
    position = state.durableBytes
    hash = state.hash
    _ = ftruncate(file, off_t(position))
  }

  /// Gives the file its name. The folders of the name may come and go: whoever deletes the last object in one removes it.
  private func place(at target: String) throws(ObjectStoreError) {
    let segments = state.key.text.split(separator: "/")
    for _ in 0..<16 {
      var folders = [store.root]
      for segment in segments.dropLast() {
        let folder = (folders.last ?? store.root) + "/" + segment
        if mkdir(folder, 0o700) != 0 && errno != EEXIST {
          if errno == ENOENT { break }
          throw errno == ENOTDIR ? .invalidKey(state.key.text) : FileCalls.failure("making a folder")
        }
        folders.append(folder)
      }
      guard rename(store.uploadPath(state.id), target) == 0 else {
        if errno == ENOENT { continue }
        throw [ENOTDIR, EISDIR].contains(errno) ? .invalidKey(state.key.text) : FileCalls.failure("naming an object")
      }
      for folder in folders.reversed() { try FileCalls.syncFolder(folder) }
      return
    }
    throw .unknownUpload
  }
}
