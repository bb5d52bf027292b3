import CLibvirt

extension Domain {
  /// `virDomainSnapshotCreateFlags`
  public struct SnapshotOptions: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Disks without the guest's memory.
    public static let diskOnly = SnapshotOptions(rawValue: VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY.rawValue)
    /// Asks the guest's agent to write its caches and hold still. Needs `diskOnly`.
    public static let quiesce = SnapshotOptions(rawValue: VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE.rawValue)
    /// All disks or none.
    public static let atomic = SnapshotOptions(rawValue: VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC.rawValue)
    /// libvirt does not remember it: an overlay is put on the disks, and that is all.
    public static let noMetadata = SnapshotOptions(rawValue: VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA.rawValue)
    /// The guest runs on while its memory is written.
    public static let live = SnapshotOptions(rawValue: VIR_DOMAIN_SNAPSHOT_CREATE_LIVE.rawValue)
    /// The overlay files exist already.
    public static let reuseFiles = SnapshotOptions(rawValue: VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT.rawValue)
  }

  /// Makes a snapshot from a `<domainsnapshot>` document and returns its name. Without external files in the document it
  /// lies inside the qcow2 images.
  public func createSnapshot(_ xml: String, _ options: SnapshotOptions = []) async throws(LibvirtError) -> String {
    try await long { domain throws(LibvirtError) in
      guard let snapshot = virDomainSnapshotCreateXML(domain, xml, options.rawValue) else { throw LibvirtError.last() }
      defer { virDomainSnapshotFree(snapshot) }
      return virDomainSnapshotGetName(snapshot).map { String(cString: $0) } ?? ""
    }
  }

  /// The names of all snapshots that libvirt remembers, parents before children.
  public func snapshots() async throws(LibvirtError) -> [String] {
    try await quick { domain throws(LibvirtError) in
      var list: UnsafeMutablePointer<virDomainSnapshotPtr?>?
      let flags = VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL.rawValue
      let count = try LibvirtError.check(virDomainListAllSnapshots(domain, &list, flags))
      return takeList(list, count, name: virDomainSnapshotGetName) { virDomainSnapshotFree($0) }
    }
  }

  /// Puts disks, and memory if the snapshot has it, back to what they were. libvirt 9 cannot do so for external snapshots.
  public func revert(toSnapshot name: String) async throws(LibvirtError) {
    try await withSnapshot(name) { snapshot throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainRevertToSnapshot(snapshot, 0))
    }
  }

  /// Deletes a snapshot, or with `metadataOnly` libvirt's memory of it.
  public func deleteSnapshot(_ name: String, metadataOnly: Bool = false) async throws(LibvirtError) {
    let flags = metadataOnly ? VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY.rawValue : 0
    try await withSnapshot(name) { snapshot throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainSnapshotDelete(snapshot, flags))
    }
  }

  private func withSnapshot(
    _ name: String, _ body: @escaping @Sendable (virDomainSnapshotPtr) throws(LibvirtError) -> Void
  ) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      guard let snapshot = virDomainSnapshotLookupByName(domain, name, 0) else { throw LibvirtError.last() }
      defer { virDomainSnapshotFree(snapshot) }
      try body(snapshot)
    }
  }
}
