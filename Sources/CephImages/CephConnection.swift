import CCeph
import Glibc

/// librados and librbd, once they are loaded.
///
/// `@unchecked Sendable`: addresses of functions, which do not change.
private struct CephLibrary: @unchecked Sendable {
  let functions: ceph_library

  static let loaded: Result<CephLibrary, CephError> = {
    let table = UnsafeMutablePointer<ceph_library>.allocate(capacity: 1)
    defer { table.deallocate() }
    if let missing = load_ceph_library(table) {
      return .failure(CephError(code: ELIBACC, what: "Ceph's libraries cannot be loaded: \(String(cString: missing))"))
    }
    return .success(CephLibrary(functions: table.pointee))
  }()
}

/// Why Ceph did not do something.
struct CephError: Error {
  /// An `errno`.
  var code: Int32
  /// What the code does not say.
  var what: String?
}

/// A connection to a Ceph cluster, for the images of one pool. Its calls block, up to a minute where the cluster does not answer.
final class CephConnection {
  private let ceph: ceph_library
  private let cluster: ceph_cluster
  private let pool: ceph_pool

  // Clones need no protected snapshots, and images tell how much they take without being read. A cluster that does not answer
  // fails a step, which is tried again, rather than hold it for ever.
  private static let options = [
    "client_mount_timeout": "30", "rados_mon_op_timeout": "30", "rados_osd_op_timeout": "60",
    "rbd_default_clone_format": "2", "rbd_default_features": "61",
  ]

  init(pool name: String, client: String, configuration: String, keyring: String) throws(CephError) {
    ceph = try CephLibrary.loaded.get().functions
    var made: ceph_cluster?
    try Self.check(ceph.rados_create(&made, client))
    guard let cluster = made else { throw CephError(code: ENOMEM) }
    var opened: ceph_pool?
    do throws(CephError) {
      try Self.check(ceph.rados_conf_read_file(cluster, configuration), "reading \(configuration)")
      try Self.check(ceph.rados_conf_set(cluster, "keyring", keyring))
      for (option, value) in Self.options { try Self.check(ceph.rados_conf_set(cluster, option, value)) }
      try Self.check(ceph.rados_connect(cluster), "connecting by \(configuration)")
      try Self.check(ceph.rados_ioctx_create(cluster, name, &opened), "the cluster has no pool \(name)")
    } catch {
      ceph.rados_shutdown(cluster)
      // A pool or a file that is not there says nothing about what should be in the pool.
      throw error.code == ENOENT ? CephError(code: ENODEV, what: error.what) : error
    }
    guard let opened else { throw CephError(code: ENOMEM) }
    self.cluster = cluster
    pool = opened
  }

  deinit {
    ceph.rados_ioctx_destroy(pool)
    ceph.rados_shutdown(cluster)
  }

  private static func check(_ result: Int32, _ what: String? = nil) throws(CephError) {
    if result < 0 { throw CephError(code: -result, what: what) }
  }

  // MARK: The cluster

  /// Asks the monitors; the answer's text.
  func ask(_ command: String) throws(CephError) -> String {
    var (output, status): (UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>?) = (nil, nil)
    var (length, statusLength) = (0, 0)
    defer {
      if let output { ceph.rados_buffer_free(output) }
      if let status { ceph.rados_buffer_free(status) }
    }
    let result = command.withCString { text in
      var words: [UnsafePointer<CChar>?] = [text]
      return ceph.rados_mon_command(cluster, &words, 1, nil, 0, &output, &length, &status, &statusLength)
    }
    try Self.check(
      result, status.map { String(decoding: UnsafeRawBufferPointer(start: $0, count: statusLength), as: UTF8.self) })
    return String(decoding: UnsafeRawBufferPointer(start: output, count: length), as: UTF8.self)
  }

  // MARK: Images

  /// The names of all images.
  func names() throws(CephError) -> [String] {
    var names: [ceph_image_name] = []
    var count = 0
    while true {
      let result = ceph.rbd_list2(pool, &names, &count)
      if result == -ERANGE {
        names = Array(repeating: ceph_image_name(), count: count)
        continue
      }
      try Self.check(result)
      defer { ceph.rbd_image_spec_list_cleanup(&names, count) }
      return names.prefix(count).map { String(cString: $0.name) }
    }
  }

  func create(_ image: String, sizeBytes: Int) throws(CephError) {
    try withOptions { (options) throws(CephError) in
      try Self.check(ceph.rbd_create4(pool, image, UInt64(sizeBytes), options))
    }
  }

  func clone(_ parent: String, at snapshot: String, as image: String) throws(CephError) {
    try withOptions { (options) throws(CephError) in
      try Self.check(ceph.rbd_clone3(pool, parent, snapshot, pool, image, options))
    }
  }

  private func withOptions(_ body: (ceph_image_options?) throws(CephError) -> Void) throws(CephError) {
    var options: ceph_image_options?
    ceph.rbd_image_options_create(&options)
    defer { ceph.rbd_image_options_destroy(options) }
    try body(options)
  }

  func rename(_ image: String, to name: String) throws(CephError) { try Self.check(ceph.rbd_rename(pool, image, name)) }

  func resize(_ image: String, to sizeBytes: Int) throws(CephError) {
    try withImage(image, isWritten: true) { (image) throws(CephError) in
      try Self.check(ceph.rbd_resize(image, UInt64(sizeBytes)))
    }
  }

  /// Opens an image, or what a snapshot of it holds, for as long as `body` goes on. Who opens one to read is not among its watchers.
  private func withImage<Value>(
    _ name: String, at snapshot: String? = nil, isWritten: Bool = false,
    _ body: (ceph_image) throws(CephError) -> Value
  ) throws(CephError) -> Value {
    var opened: ceph_image?
    try Self.check(
      isWritten
        ? ceph.rbd_open(pool, name, &opened, snapshot) : ceph.rbd_open_read_only(pool, name, &opened, snapshot))
    guard let image = opened else { throw CephError(code: ENOMEM) }
    defer { _ = ceph.rbd_close(image) }
    return try body(image)
  }

  // MARK: What is known of one

  /// The addresses of those that have it open to write.
  func watchers(of image: String) throws(CephError) -> [String] {
    try withImage(image) { (image) throws(CephError) in
      var watchers: [ceph_watcher] = []
      var count = 0
      while true {
        let result = ceph.rbd_watchers_list(image, &watchers, &count)
        if result == -ERANGE {
          watchers = Array(repeating: ceph_watcher(), count: count)
          continue
        }
        try Self.check(result)
        defer { ceph.rbd_watchers_list_cleanup(&watchers, count) }
        return watchers.prefix(count).map { String(cString: $0.address) }
      }
    }
  }

  func metadata(_ key: String, of image: String) throws(CephError) -> String {
    try withImage(image) { (image) throws(CephError) in
      var value = [CChar](repeating: 0, count: 4096)
      var length = value.count
      while true {
        let result = ceph.rbd_metadata_get(image, key, &value, &length)
        if result == -ERANGE {
          value = [CChar](repeating: 0, count: length)
          continue
        }
        try Self.check(result)
        return String(decoding: value.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      }
    }
  }

  func setMetadata(_ key: String, to value: String, of image: String) throws(CephError) {
    try withImage(image, isWritten: true) { (image) throws(CephError) in
      try Self.check(ceph.rbd_metadata_set(image, key, value))
    }
  }

  func usage(of name: String) throws(CephError) -> ImageUsage {
    var usage = ImageUsage()
    var last: String?
    try withImage(name) { (image) throws(CephError) in
      let snapshots = try self.snapshots(of: image)
      for snapshot in snapshots {
        do throws(CephError) {
          usage.usedBytes += try withImage(name, at: snapshot) { (image) throws(CephError) in
            try changedBytes(of: image, since: last).changed
          }
        } catch {
          // Only the image itself may be missing.
          throw error.code == ENOENT ? CephError(code: ESTALE, what: "\(name)@\(snapshot) has just gone") : error
        }
        last = snapshot
      }
      let head = try changedBytes(of: image, since: last)
      usage.usedBytes += head.changed
      usage.sizeBytes = head.size
      usage.snapshots = Set(snapshots)
    }
    return usage
  }

  /// In whole objects, which Ceph knows without reading them.
  private func changedBytes(
    of image: ceph_image, since snapshot: String?
  ) throws(CephError) -> (changed: Int, size: Int) {
    var size: UInt64 = 0
    try Self.check(ceph.rbd_get_size(image, &size))
    var changed = 0
    let result = ceph.rbd_diff_iterate2(
      image, snapshot, 0, size, 0, 1,
      { _, length, exists, sum in
        if exists != 0 { sum?.assumingMemoryBound(to: Int.self).pointee += length }
        return 0
      }, &changed)
    try Self.check(result)
    return (changed, Int(size))
  }

  // MARK: Snapshots

  /// Those that have not been deleted, the oldest first.
  func snapshots(of image: String) throws(CephError) -> [String] {
    try withImage(image) { (image) throws(CephError) in try snapshots(of: image) }
  }

  private func snapshots(of image: ceph_image) throws(CephError) -> [String] {
    var found: [ceph_snapshot] = Array(repeating: ceph_snapshot(), count: 16)
    var limit = Int32(found.count)
    while true {
      let count = ceph.rbd_snap_list(image, &found, &limit)
      if count == -ERANGE {
        found = Array(repeating: ceph_snapshot(), count: Int(limit))
        continue
      }
      try Self.check(count)
      // None: nothing is kept that would have to be freed.
      guard count > 0 else { return [] }
      defer { ceph.rbd_snap_list_end(&found) }
      var names: [(id: UInt64, name: String)] = []
      for snapshot in found.prefix(Int(count)) {
        // What clones need of deleted ones is in a space of its own.
        var space: Int32 = 0
        try Self.check(ceph.rbd_snap_get_namespace_type(image, snapshot.id, &space))
        if space == 0 { names.append((snapshot.id, String(cString: snapshot.name))) }
      }
      return names.sorted { $0.id < $1.id }.map(\.name)
    }
  }

  /// Whether an image and that snapshot of it are there; throws ENOENT if not.
  func open(_ snapshot: String, of image: String) throws(CephError) {
    try withImage(image, at: snapshot) { (_) throws(CephError) in }
  }

  func createSnapshot(_ snapshot: String, of image: String) throws(CephError) {
    try withImage(image, isWritten: true) { (image) throws(CephError) in
      try Self.check(ceph.rbd_snap_create(image, snapshot))
    }
  }

  func removeSnapshot(_ snapshot: String, of image: String) throws(CephError) {
    try withImage(image, isWritten: true) { (image) throws(CephError) in
      try Self.check(ceph.rbd_snap_remove(image, snapshot))
    }
  }
}
