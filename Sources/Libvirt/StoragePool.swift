import CLibvirt

/// A storage pool on a connection, known by its name. Making one costs nothing and says nothing about its existence: each
/// call looks it up and throws `noStoragePool` if it is not there.
public struct StoragePool: Sendable {
  public let connection: Connection
  public let name: String

  public init(connection: Connection, name: String) {
    self.connection = connection
    self.name = name
  }

  /// `virStoragePoolState`
  public enum State: Int, Sendable { case inactive, building, running, degraded, inaccessible, unknown }

  /// Bytes.
  public struct Info: Sendable, Hashable {
    public var state: State
    public var capacity, allocation, available: UInt64
  }

  func withPointer<Result: Sendable>(
    _ body: @escaping @Sendable (virStoragePoolPtr) throws(LibvirtError) -> Result
  ) async throws(LibvirtError) -> Result {
    let name = name
    return try await connection.long { connection throws(LibvirtError) in
      guard let pool = virStoragePoolLookupByName(connection, name) else { throw LibvirtError.last() }
      defer { virStoragePoolFree(pool) }
      return try body(pool)
    }
  }

  /// Makes what the pool needs, such as its directory.
  public func build() async throws(LibvirtError) {
    try await withPointer { pool throws(LibvirtError) in _ = try LibvirtError.check(virStoragePoolBuild(pool, 0)) }
  }

  /// Makes the pool usable. Throws `operationInvalid` if it is already.
  public func start() async throws(LibvirtError) {
    try await withPointer { pool throws(LibvirtError) in _ = try LibvirtError.check(virStoragePoolCreate(pool, 0)) }
  }

  /// Makes the pool unusable; its contents stay.
  public func stop() async throws(LibvirtError) {
    try await withPointer { pool throws(LibvirtError) in _ = try LibvirtError.check(virStoragePoolDestroy(pool)) }
  }

  /// Forgets an inactive pool; its contents stay.
  public func undefine() async throws(LibvirtError) {
    try await withPointer { pool throws(LibvirtError) in _ = try LibvirtError.check(virStoragePoolUndefine(pool)) }
  }

  /// Whether libvirtd starts the pool when the host boots.
  public func setAutostart(_ autostart: Bool) async throws(LibvirtError) {
    try await withPointer { pool throws(LibvirtError) in
      _ = try LibvirtError.check(virStoragePoolSetAutostart(pool, autostart ? 1 : 0))
    }
  }

  /// Looks at the storage again: finds volumes made by others, and the true format of one just uploaded.
  public func refresh() async throws(LibvirtError) {
    try await withPointer { pool throws(LibvirtError) in _ = try LibvirtError.check(virStoragePoolRefresh(pool, 0)) }
  }

  public func info() async throws(LibvirtError) -> Info {
    try await withPointer { pool throws(LibvirtError) in
      var info = virStoragePoolInfo()
      try LibvirtError.check(virStoragePoolGetInfo(pool, &info))
      return Info(
        state: State(rawValue: Int(info.state)) ?? .unknown, capacity: info.capacity, allocation: info.allocation,
        available: info.available)
    }
  }

  public func xml() async throws(LibvirtError) -> String {
    try await withPointer { pool throws(LibvirtError) in try takeString(virStoragePoolGetXMLDesc(pool, 0)) }
  }

  /// The volume of this name; no call is made.
  public func volume(_ name: String) -> StorageVolume { StorageVolume(pool: self, name: name) }

  /// Makes a volume from its XML; with `<backingStore>` it is a copy-on-write clone. A raw volume takes its whole capacity
  /// at once unless `<allocation>` says less. Throws `storageVolumeExists`.
  public func createVolume(_ xml: String) async throws(LibvirtError) -> StorageVolume {
    let name = try await withPointer { pool throws(LibvirtError) -> String in
      guard let volume = virStorageVolCreateXML(pool, xml, 0) else { throw LibvirtError.last() }
      defer { virStorageVolFree(volume) }
      return virStorageVolGetName(volume).map { String(cString: $0) } ?? ""
    }
    return StorageVolume(pool: self, name: name)
  }

  /// All volumes libvirt knows of; see ``refresh()``.
  public func volumes() async throws(LibvirtError) -> [StorageVolume] {
    let names = try await withPointer { pool throws(LibvirtError) -> [String] in
      var list: UnsafeMutablePointer<virStorageVolPtr?>?
      let count = try LibvirtError.check(virStoragePoolListAllVolumes(pool, &list, 0))
      return takeList(list, count, name: virStorageVolGetName) { virStorageVolFree($0) }
    }
    return names.map { StorageVolume(pool: self, name: $0) }
  }
}

extension Connection {
  /// The pool of this name; no call is made.
  public func storagePool(_ name: String) -> StoragePool { StoragePool(connection: self, name: name) }

  /// Stores a pool's definition. It is neither built nor started by this.
  public func defineStoragePool(_ xml: String) async throws(LibvirtError) -> StoragePool {
    let name = try await long { connection throws(LibvirtError) -> String in
      guard let pool = virStoragePoolDefineXML(connection, xml, 0) else { throw LibvirtError.last() }
      defer { virStoragePoolFree(pool) }
      return virStoragePoolGetName(pool).map { String(cString: $0) } ?? ""
    }
    return StoragePool(connection: self, name: name)
  }

  /// All pools, active or not.
  public func storagePools() async throws(LibvirtError) -> [StoragePool] {
    let names = try await quick { connection throws(LibvirtError) -> [String] in
      var list: UnsafeMutablePointer<virStoragePoolPtr?>?
      let count = try LibvirtError.check(virConnectListAllStoragePools(connection, &list, 0))
      return takeList(list, count, name: virStoragePoolGetName) { virStoragePoolFree($0) }
    }
    return names.map { StoragePool(connection: self, name: $0) }
  }
}
