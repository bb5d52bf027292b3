import AloftModel
import Foundation
import Libvirt
import XMLBuilder

extension LibvirtHypervisor {
  public func disks(of vm: VMID) async throws(AgentFailure) -> [DomainDisk] {
    let xml = try await call(vm) { domain throws(LibvirtError) -> String? in
      try await domain.isActive() ? try await domain.xml() : nil
    }
    guard let xml else { return [] }
    let disks: [DomainDisk]
    do throws(LibvirtError) { disks = try DomainDisk.all(inDomain: xml) } catch { throw AgentFailure(error) }
    if isUncleared(vm) || hasLeft(vm, having: Set(disks.map(\.volume))) {
      noteCleared(vm)
      await clearRemainsSoon(of: vm, knowing: Set(disks.map { DiskSpecification.alias(of: $0.volume) }))
    }
    return disks
  }

  public func openSources() async throws(AgentFailure) -> Set<DiskSource> {
    let descriptions = try await call { connection throws(LibvirtError) in try await connection.activeDomainXML() }
    do throws(LibvirtError) {
      var sources: Set<DiskSource> = []
      for xml in descriptions {
        for disk in try ParsedXML(xml).all("/domain/devices/disk/source | /domain/devices/disk/mirror/source") {
          if let source = DiskSource(disk) { sources.insert(source) }
        }
      }
      return sources
    } catch { throw AgentFailure(error) }
  }

  public func attach(_ disk: DiskSpecification, to vm: VMID) async throws(AgentFailure) {
    if disk.ceph != nil { await provideKeys() }
    try await call(vm) { domain throws(LibvirtError) in
      let targets = try ParsedXML(try await domain.xml()).all("/domain/devices/disk/target")
      let target = DiskSpecification.target(on: disk.bus, taken: Set(targets.compactMap { $0.attribute("dev") }))
      try await domain.attach(disk.element(target: target).string, affect: .live)
    }
  }

  public func detach(_ volume: VolumeID, from vm: VMID) async throws(AgentFailure) {
    let disk = try await disks(of: vm).first { $0.volume == volume }
    // A guest that gives it back just now has none to compare.
    if let disk, (try? await isElsewhere(disk, of: vm)) == true { noteLeaving(volume, vm) }
    try await detach(alias: DiskSpecification.alias(of: volume), from: vm)
  }

  public func limit(_ disk: DomainDisk, of vm: VMID, to limits: IOLimits) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in
      try await domain.setBlockIOTune(
        disk.target, limits.parameters.map { (name: $0.name, value: UInt64(clamping: $0.value)) }, affect: .live)
    }
  }

  public func resize(_ disk: DomainDisk, of vm: VMID, to bytes: Int) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in
      try await domain.resizeBlock(disk.target, bytes: UInt64(clamping: bytes))
    }
  }

  public func switchDisks(_ disks: [DiskSwitch], of vm: VMID, quiesce: Bool) async throws(AgentFailure) -> Bool {
    let logger = logger
    return try await call(vm) { domain throws(LibvirtError) in
      let all = try ParsedXML(try await domain.xml()).all("/domain/devices/disk/target")
        .compactMap { $0.attribute("dev") }
      let xml = Self.snapshotXML(disks, all: all)
      let options: Domain.SnapshotOptions = [.diskOnly, .atomic, .noMetadata, .reuseFiles]
      if quiesce {
        do throws(LibvirtError) {
          _ = try await domain.createSnapshot(xml, options.union(.quiesce))
          return true
        } catch {
          // No agent, or one that does not answer, or a guest that stands still: libvirt has many words for it.
          guard error.code != .connectionLost, error.code != .noDomain else { throw error }
          logger.info(
            "a snapshot is taken without the guest's agent", metadata: ["vm": "\(vm)", "failure": "\(error)"])
        }
      }
      _ = try await domain.createSnapshot(xml, options)
      return false
    }
  }

  public func pull(_ layer: DiskSource, into disk: DomainDisk, of vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in
      let path = "/domain/devices/disk[target/@dev='\(disk.target)']//backingStore[source]"
      // From above; each lies in the one before.
      let below = try ParsedXML(try await domain.xml()).all(path)
      guard let place = below.firstIndex(where: { $0.text("source/@file") == layer.path }) else {
        throw LibvirtError(.operationInvalid, message: "\(disk.target) does not read \(layer.path)")
      }
      let base = place + 1 < below.count ? below[place + 1].attribute("index") : nil
      try await domain.pullBlocks(disk.target, base: base.map { "\(disk.target)[\($0)]" })
    }
  }

  public func isMerging(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) -> Bool {
    try await call(vm) { domain throws(LibvirtError) in try await domain.hasBlockJob(disk.target) }
  }

  /// - Parameter all: the targets of all disks of the domain: those that are not named would get a snapshot, too.
  static func snapshotXML(_ disks: [DiskSwitch], all: [String], memory: String? = nil) -> String {
    XML.element("domainsnapshot") {
      if let memory { XML.element("memory", ["snapshot": "external", "file": memory]) }
      XML.element("disks") {
        for target in all {
          if let disk = disks.first(where: { $0.disk.target == target }) {
            XML.element("disk", ["name": target, "snapshot": "external", "type": "file"]) {
              XML.element("driver", ["type": "qcow2"])
              XML.element("source", ["file": disk.source.path]) {
                if disk.isEncrypted { DiskEncryption.element(of: disk.disk.volume) }
              }
            }
          } else {
            XML.element("disk", ["name": target, "snapshot": "no"])
          }
        }
      }
    }.string
  }
}

extension IOLimits {
  /// What a domain's XML says of a disk.
  fileprivate init(disk element: ParsedXML) {
    func read(_ parameter: String) -> Int? {
      element.integer("iotune/\(parameter)").flatMap { $0 > 0 ? $0 : nil }
    }
    self.init()
    for measure in IOMeasure.allCases {
      guard let perSecond = read(measure.parameter) else { continue }
      let burst = read(measure.burstParameter)
      self[measure] = IOLimit(
        perSecond: perSecond, burst: burst, burstSeconds: burst == nil ? nil : read(measure.lengthParameter))
    }
  }
}

extension DomainDisk {
  /// What a domain's XML has of volumes.
  static func all(inDomain xml: String) throws(LibvirtError) -> [DomainDisk] {
    try ParsedXML(xml).all("/domain/devices/disk").compactMap { element in
      guard let alias = element.text("alias/@name"), let uuid = DiskSpecification.volume(ofAlias: alias),
        let id = UUID(uuidString: uuid), let source = element.first("source").flatMap(DiskSource.init),
        let target = element.text("target/@dev")
      else { return nil }
      return DomainDisk(volume: VolumeID(id), source: source, target: target, limits: IOLimits(disk: element))
    }
  }
}

extension DiskSource {
  /// A `<source>` element; nil where it is something else.
  init?(_ element: ParsedXML) {
    if let path = element.attribute("file") {
      self = .file(path)
    } else if element.attribute("protocol") == "rbd", let name = element.attribute("name") {
      self = .rbd(name)
    } else {
      return nil
    }
  }
}
