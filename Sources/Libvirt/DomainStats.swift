import CLibvirt
import Foundation

/// Counters of one domain, from `virConnectGetAllDomainStats`. What the hypervisor does not tell is nil.
public struct DomainStats: Sendable, Hashable {
  /// Groups cost differently: `block` and `balloon` ask each QEMU, the others do not.
  public struct Groups: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let state = Groups(rawValue: VIR_DOMAIN_STATS_STATE.rawValue)
    public static let cpu = Groups(rawValue: VIR_DOMAIN_STATS_CPU_TOTAL.rawValue)
    public static let balloon = Groups(rawValue: VIR_DOMAIN_STATS_BALLOON.rawValue)
    public static let vcpu = Groups(rawValue: VIR_DOMAIN_STATS_VCPU.rawValue)
    public static let interface = Groups(rawValue: VIR_DOMAIN_STATS_INTERFACE.rawValue)
    public static let block = Groups(rawValue: VIR_DOMAIN_STATS_BLOCK.rawValue)
    public static let all: Groups = [.state, .cpu, .balloon, .vcpu, .interface, .block]
  }

  /// Nanoseconds.
  public struct CPU: Sendable, Hashable {
    public var total, user, system: UInt64?
  }

  /// KiB. `unused`, `available`, `usable` and `diskCaches` need the balloon's statistics period in the domain's XML.
  public struct Memory: Sendable, Hashable {
    public var current, maximum, unused, available, usable, diskCaches, residentSet, swapIn, swapOut: UInt64?
  }

  public struct Block: Sendable, Hashable {
    /// The target: `vda`.
    public var name: String
    /// The image's path; nil for an empty drive and network disks.
    public var path: String?
    public var readRequests, readBytes, readNanoseconds: UInt64?
    public var writeRequests, writeBytes, writeNanoseconds: UInt64?
    public var flushRequests, flushNanoseconds: UInt64?
    /// Bytes: highest written offset, size the guest sees, size of the file.
    public var allocation, capacity, physical: UInt64?
  }

  public struct Interface: Sendable, Hashable {
    /// The host's device: `vnet0`.
    public var name: String
    public var receivedBytes, receivedPackets, receivedErrors, receivedDrops: UInt64?
    public var sentBytes, sentPackets, sentErrors, sentDrops: UInt64?
  }

  public let uuid: UUID
  public let name: String
  public var state: DomainState?
  public var cpu = CPU()
  public var memory = Memory()
  /// Processors the guest has now, and may get at most.
  public var currentVCPUs, maximumVCPUs: UInt64?
  public var blocks: [Block] = []
  public var interfaces: [Interface] = []

  init(uuid: UUID, name: String, _ parameters: TypedParameters) {
    self.uuid = uuid
    self.name = name
    state = parameters["state.state"].map { state in
      DomainState(state: Int(state), reason: Int(parameters["state.reason"] ?? 0))
    }
    cpu = CPU(total: parameters["cpu.time"], user: parameters["cpu.user"], system: parameters["cpu.system"])
    memory = Memory(
      current: parameters["balloon.current"], maximum: parameters["balloon.maximum"],
      unused: parameters["balloon.unused"],
      available: parameters["balloon.available"], usable: parameters["balloon.usable"],
      diskCaches: parameters["balloon.disk_caches"], residentSet: parameters["balloon.rss"],
      swapIn: parameters["balloon.swap_in"], swapOut: parameters["balloon.swap_out"])
    currentVCPUs = parameters["vcpu.current"]
    maximumVCPUs = parameters["vcpu.maximum"]
    blocks = parameters.list("block") { prefix in
      Block(
        name: parameters.string(prefix + "name") ?? "", path: parameters.string(prefix + "path"),
        readRequests: parameters[prefix + "rd.reqs"], readBytes: parameters[prefix + "rd.bytes"],
        readNanoseconds: parameters[prefix + "rd.times"], writeRequests: parameters[prefix + "wr.reqs"],
        writeBytes: parameters[prefix + "wr.bytes"], writeNanoseconds: parameters[prefix + "wr.times"],
        flushRequests: parameters[prefix + "fl.reqs"], flushNanoseconds: parameters[prefix + "fl.times"],
        allocation: parameters[prefix + "allocation"], capacity: parameters[prefix + "capacity"],
        physical: parameters[prefix + "physical"])
    }
    interfaces = parameters.list("net") { prefix in
      Interface(
        name: parameters.string(prefix + "name") ?? "", receivedBytes: parameters[prefix + "rx.bytes"],
        receivedPackets: parameters[prefix + "rx.pkts"], receivedErrors: parameters[prefix + "rx.errs"],
        receivedDrops: parameters[prefix + "rx.drop"], sentBytes: parameters[prefix + "tx.bytes"],
        sentPackets: parameters[prefix + "tx.pkts"], sentErrors: parameters[prefix + "tx.errs"],
        sentDrops: parameters[prefix + "tx.drop"])
    }
  }

  /// Calls `body` with each domain's record; nil leaves a domain out.
  static func records<Element>(
    _ connection: virConnectPtr, groups: UInt32, flags: UInt32,
    _ body: (virDomainPtr, TypedParameters) throws(LibvirtError) -> Element?
  ) throws(LibvirtError) -> [Element] {
    var list: UnsafeMutablePointer<virDomainStatsRecordPtr?>?
    let count = try LibvirtError.check(virConnectGetAllDomainStats(connection, groups, &list, flags))
    defer { virDomainStatsRecordListFree(list) }
    var elements: [Element] = []
    for case let record? in UnsafeBufferPointer(start: list, count: Int(count)) {
      guard let domain = record.pointee.dom else { continue }
      let parameters = TypedParameters(record.pointee.params, count: Int(record.pointee.nparams))
      if let element = try body(domain, parameters) { elements.append(element) }
    }
    return elements
  }
}

extension Connection {
  /// Counters of all active domains in one call. A domain that is busy with a job gives what needs no wait.
  public func stats(_ groups: DomainStats.Groups = .all) async throws(LibvirtError) -> [DomainStats] {
    let flags =
      VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE.rawValue | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT.rawValue
    return try await long { connection throws(LibvirtError) in
      try DomainStats.records(connection, groups: groups.rawValue, flags: flags) { domain, parameters in
        Domain.uuid(of: domain).map { DomainStats(uuid: $0, name: Domain.name(of: domain), parameters) }
      }
    }
  }
}
