import CLibvirt

/// A volume of a pool, known by its name. Each call looks it up and throws `noStorageVolume` if it is not there.
public struct StorageVolume: Sendable {
  public let pool: StoragePool
  public let name: String

  public init(pool: StoragePool, name: String) {
    self.pool = pool
    self.name = name
  }

  /// Bytes: the size a guest sees, and the space taken.
  public struct Info: Sendable, Hashable {
    public var capacity, allocation: UInt64
  }

  func withPointer<Result: Sendable>(
    _ body: @escaping @Sendable (virStorageVolPtr) throws(LibvirtError) -> Result
  ) async throws(LibvirtError) -> Result {
    let name = name
    return try await pool.withPointer { pool throws(LibvirtError) in
      guard let volume = virStorageVolLookupByName(pool, name) else { throw LibvirtError.last() }
      defer { virStorageVolFree(volume) }
      return try body(volume)
    }
  }

  /// Where a domain finds it: for a directory pool the file's path.
  public func path() async throws(LibvirtError) -> String {
    try await withPointer { volume throws(LibvirtError) in try takeString(virStorageVolGetPath(volume)) }
  }

  public func xml() async throws(LibvirtError) -> String {
    try await withPointer { volume throws(LibvirtError) in try takeString(virStorageVolGetXMLDesc(volume, 0)) }
  }

  public func info() async throws(LibvirtError) -> Info {
    try await withPointer { volume throws(LibvirtError) in
      var info = virStorageVolInfo()
      try LibvirtError.check(virStorageVolGetInfo(volume, &info))
      return Info(capacity: info.capacity, allocation: info.allocation)
    }
  }

  /// Grows a volume that no running guest uses (for those: ``Domain/resizeBlock(_:bytes:)``).
  public func resize(bytes: UInt64) async throws(LibvirtError) {
    try await withPointer { volume throws(LibvirtError) in
      _ = try LibvirtError.check(virStorageVolResize(volume, bytes, 0))
    }
  }

  /// Deletes the volume and its data. libvirt does not check whether a guest uses it.
  public func delete() async throws(LibvirtError) {
    try await withPointer { volume throws(LibvirtError) in _ = try LibvirtError.check(virStorageVolDelete(volume, 0)) }
  }
}
