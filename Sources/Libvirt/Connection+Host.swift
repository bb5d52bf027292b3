import CLibvirt
import Foundation

/// libvirt's way to write a version as one number.
public struct LibvirtVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let major, minor, release: Int

  /// `number` is major * 1 000 000 + minor * 1 000 + release.
  public init(number: UInt) {
    major = Int(number / 1_000_000)
    minor = Int(number / 1_000 % 1_000)
    release = Int(number % 1_000)
  }

  public var description: String { "\(major).\(minor).\(release)" }

  public static func < (left: Self, right: Self) -> Bool {
    (left.major, left.minor, left.release) < (right.major, right.minor, right.release)
  }
}

/// The host's hardware in short; `virNodeGetInfo`.
public struct NodeInfo: Sendable, Hashable {
  public var architecture: String
  public var memoryKiB: UInt
  /// Active logical processors.
  public var cpus: UInt32
  /// 0 if not known.
  public var megahertz: UInt32
  public var numaCells, socketsPerCell, coresPerSocket, threadsPerCore: UInt32
}

/// The host's memory now, in KiB.
public struct NodeMemory: Sendable, Hashable {
  public var total, free, buffers, cached: UInt64
}

extension Connection {
  /// The name of the host as libvirtd knows it.
  public func hostname() async throws(LibvirtError) -> String {
    try await quick { connection throws(LibvirtError) in try takeString(virConnectGetHostname(connection)) }
  }

  /// The version of libvirtd.
  public func libvirtVersion() async throws(LibvirtError) -> LibvirtVersion {
    try await quick { connection throws(LibvirtError) in
      var number: UInt = 0
      try LibvirtError.check(virConnectGetLibVersion(connection, &number))
      return LibvirtVersion(number: number)
    }
  }

  /// The version of the hypervisor, such as QEMU.
  public func hypervisorVersion() async throws(LibvirtError) -> LibvirtVersion {
    try await quick { connection throws(LibvirtError) in
      var number: UInt = 0
      try LibvirtError.check(virConnectGetVersion(connection, &number))
      return LibvirtVersion(number: number)
    }
  }

  /// The driver's name: `QEMU`, `TEST`.
  public func driverName() async throws(LibvirtError) -> String {
    try await quick { connection throws(LibvirtError) in
      guard let name = virConnectGetType(connection) else { throw LibvirtError.last() }
      return String(cString: name)
    }
  }

  public func nodeInfo() async throws(LibvirtError) -> NodeInfo {
    try await quick { connection throws(LibvirtError) in
      var info = virNodeInfo()
      try LibvirtError.check(virNodeGetInfo(connection, &info))
      let model = withUnsafeBytes(of: info.model) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      return NodeInfo(
        architecture: model, memoryKiB: info.memory, cpus: info.cpus, megahertz: info.mhz, numaCells: info.nodes,
        socketsPerCell: info.sockets, coresPerSocket: info.cores, threadsPerCore: info.threads)
    }
  }

  public func nodeMemory() async throws(LibvirtError) -> NodeMemory {
    try await quick { connection throws(LibvirtError) in
      let allCells = VIR_NODE_MEMORY_STATS_ALL_CELLS
      var count: Int32 = 0
      try LibvirtError.check(virNodeGetMemoryStats(connection, Int32(allCells.rawValue), nil, &count, 0))
      var fields = Array(repeating: virNodeMemoryStats(), count: Int(count))
      try LibvirtError.check(virNodeGetMemoryStats(connection, Int32(allCells.rawValue), &fields, &count, 0))
      var values: [String: UInt64] = [:]
      for field in fields {
        let name = withUnsafeBytes(of: field.field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        values[name] = field.value
      }
      return NodeMemory(
        total: values["total"] ?? 0, free: values["free"] ?? 0, buffers: values["buffers"] ?? 0,
        cached: values["cached"] ?? 0)
    }
  }

  public func capabilities() async throws(LibvirtError) -> Capabilities {
    let xml = try await long { connection throws(LibvirtError) in try takeString(virConnectGetCapabilities(connection))
    }
    return try Capabilities(xml: xml)
  }

  /// What domains of this kind can have; nil stands for the host's architecture and the defaults.
  public func domainCapabilities(
    architecture: String? = nil, machine: String? = nil, type: String? = nil
  ) async throws(LibvirtError) -> DomainCapabilities {
    let xml = try await long { connection throws(LibvirtError) in
      try takeString(virConnectGetDomainCapabilities(connection, nil, architecture, machine, type, 0))
    }
    return try DomainCapabilities(xml: xml)
  }
}
