import CLibvirt

/// How a guest moves to another host; parameters and flags of `virDomainMigrateToURI3`.
public struct MigrationOptions: Sendable {
  /// The destination's libvirtd, as the *source's* libvirtd reaches it: `qemu+tls://host/system`.
  public var destination: String
  /// Where the memory goes, `tcp://address` or `tcp://address:port`; nil lets the destination choose.
  public var migrationURI: String?
  /// The address the destination listens on; nil listens on all.
  public var listenAddress: String?
  /// The running guest's XML on the destination, if paths or devices differ there.
  public var destinationXML: String?
  /// The stored definition on the destination.
  public var persistentXML: String?
  /// Disks that do not lie on storage common to both hosts, by target (`vda`).
  public var copiedDisks: [String] = []
  /// MiB/s; nil is as fast as possible.
  public var bandwidthMiB: UInt64?
  public var flags: Flags

  /// `virDomainMigrateFlags`
  public struct Flags: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let live = Flags(rawValue: VIR_MIGRATE_LIVE.rawValue)
    public static let peerToPeer = Flags(rawValue: VIR_MIGRATE_PEER2PEER.rawValue)
    /// Memory goes through the two libvirtds' connection. Not together with `tls`.
    public static let tunnelled = Flags(rawValue: VIR_MIGRATE_TUNNELLED.rawValue)
    public static let persistDestination = Flags(rawValue: VIR_MIGRATE_PERSIST_DEST.rawValue)
    public static let undefineSource = Flags(rawValue: VIR_MIGRATE_UNDEFINE_SOURCE.rawValue)
    /// The guest does not run on the destination until resumed there.
    public static let paused = Flags(rawValue: VIR_MIGRATE_PAUSED.rawValue)
    /// Copies whole disks.
    public static let copyDisks = Flags(rawValue: VIR_MIGRATE_NON_SHARED_DISK.rawValue)
    /// Copies what lies above the backing files.
    public static let copyDiskOverlays = Flags(rawValue: VIR_MIGRATE_NON_SHARED_INC.rawValue)
    /// Skips libvirt's check that the disks' caches are coherent on both hosts.
    public static let unsafe = Flags(rawValue: VIR_MIGRATE_UNSAFE.rawValue)
    /// Moves the definition of a domain that does not run.
    public static let offline = Flags(rawValue: VIR_MIGRATE_OFFLINE.rawValue)
    public static let abortOnError = Flags(rawValue: VIR_MIGRATE_ABORT_ON_ERROR.rawValue)
    /// Slows the guest down until it writes less than can be copied.
    public static let autoConverge = Flags(rawValue: VIR_MIGRATE_AUTO_CONVERGE.rawValue)
    public static let postCopy = Flags(rawValue: VIR_MIGRATE_POSTCOPY.rawValue)
    public static let tls = Flags(rawValue: VIR_MIGRATE_TLS.rawValue)
    public static let parallel = Flags(rawValue: VIR_MIGRATE_PARALLEL.rawValue)
  }

  /// A live move between two libvirtds after which only the destination knows the domain.
  public init(
    destination: String, flags: Flags = [.live, .peerToPeer, .persistDestination, .undefineSource, .abortOnError]
  ) {
    self.destination = destination
    self.flags = flags
  }

  fileprivate var parameters: [(name: String, value: Parameter)] {
    var list: [(String, Parameter)] = []
    if let migrationURI { list.append((VIR_MIGRATE_PARAM_URI, .string(migrationURI))) }
    if let listenAddress { list.append((VIR_MIGRATE_PARAM_LISTEN_ADDRESS, .string(listenAddress))) }
    if let destinationXML { list.append((VIR_MIGRATE_PARAM_DEST_XML, .string(destinationXML))) }
    if let persistentXML { list.append((VIR_MIGRATE_PARAM_PERSIST_XML, .string(persistentXML))) }
    for disk in copiedDisks { list.append((VIR_MIGRATE_PARAM_MIGRATE_DISKS, .string(disk))) }
    if let bandwidthMiB { list.append((VIR_MIGRATE_PARAM_BANDWIDTH, .number(bandwidthMiB))) }
    return list
  }

  fileprivate enum Parameter {
    case string(String)
    case number(UInt64)
  }
}

/// How far a job of a domain (migration, save) is; `virDomainGetJobStats`. Bytes and milliseconds.
public struct JobProgress: Sendable, Hashable {
  public var elapsed, remaining, downtime: UInt64?
  public var dataTotal, dataProcessed, dataRemaining: UInt64?
  public var memoryIteration: UInt64?
}

extension Domain {
  /// Moves the guest and returns when it runs on the destination. Cancelling the task aborts the move, as does
  /// ``abortJob()``: it throws `operationAborted`, and the guest goes on here.
  public func migrate(_ options: MigrationOptions) async throws(LibvirtError) {
    let result: Result<Void, LibvirtError> = await withTaskCancellationHandler {
      do throws(LibvirtError) {
        try await long { domain throws(LibvirtError) in try Self.migrate(domain, options) }
        return .success(())
      } catch {
        return .failure(error)
      }
    } onCancel: {
      Task { try? await abortJob() }
    }
    try result.get()
  }

  private static func migrate(_ domain: virDomainPtr, _ options: MigrationOptions) throws(LibvirtError) {
    var (list, count, capacity): (UnsafeMutablePointer<virTypedParameter>?, Int32, Int32) = (nil, 0, 0)
    defer { virTypedParamsFree(list, count) }
    for (name, value) in options.parameters {
      switch value {
      case .string(let text): try LibvirtError.check(virTypedParamsAddString(&list, &count, &capacity, name, text))
      case .number(let number): try LibvirtError.check(virTypedParamsAddULLong(&list, &count, &capacity, name, number))
      }
    }
    try LibvirtError.check(
      virDomainMigrateToURI3(domain, options.destination, list, UInt32(count), options.flags.rawValue))
  }

  /// How far the running job is; nil if there is none.
  public func jobProgress() async throws(LibvirtError) -> JobProgress? {
    try await quick { domain throws(LibvirtError) in
      var (type, count) = (Int32(0), Int32(0))
      var list: UnsafeMutablePointer<virTypedParameter>?
      try LibvirtError.check(virDomainGetJobStats(domain, &type, &list, &count, 0))
      defer { virTypedParamsFree(list, count) }
      guard type != Int32(VIR_DOMAIN_JOB_NONE.rawValue) else { return nil }
      let parameters = TypedParameters(list, count: Int(count))
      return JobProgress(
        elapsed: parameters[VIR_DOMAIN_JOB_TIME_ELAPSED], remaining: parameters[VIR_DOMAIN_JOB_TIME_REMAINING],
        downtime: parameters[VIR_DOMAIN_JOB_DOWNTIME], dataTotal: parameters[VIR_DOMAIN_JOB_DATA_TOTAL],
        dataProcessed: parameters[VIR_DOMAIN_JOB_DATA_PROCESSED],
        dataRemaining: parameters[VIR_DOMAIN_JOB_DATA_REMAINING],
        memoryIteration: parameters[VIR_DOMAIN_JOB_MEMORY_ITERATION])
    }
  }

  /// Ends the running job; what it was for fails with `operationAborted`. Throws `operationInvalid` if there is none.
  public func abortJob() async throws(LibvirtError) {
    try await quick { domain throws(LibvirtError) in _ = try LibvirtError.check(virDomainAbortJob(domain)) }
  }
}
