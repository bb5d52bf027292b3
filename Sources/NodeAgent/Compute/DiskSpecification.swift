import AloftModel
import Crypto
import XMLBuilder

/// A volume that a running guest has, as libvirt tells it.
public struct DomainDisk: Sendable, Hashable {
  public var volume: VolumeID
  /// What QEMU writes to now.
  public var source: DiskSource
  /// The disk's name inside libvirt: `vda`.
  public var target: String
  /// What QEMU holds the guest to now.
  public var limits: IOLimits

  public init(volume: VolumeID, source: DiskSource, target: String, limits: IOLimits = IOLimits()) {
    self.volume = volume
    self.source = source
    self.target = target
    self.limits = limits
  }
}

/// Everything that a volume of a domain is defined from.
public struct DiskSpecification: Sendable, Hashable {
  public var volume: VolumeID
  public var bus: DiskBus
  public var source: DiskSource
  /// How the source's cluster is reached.
  public var ceph: CephAccess?
  /// Nil: it is not encrypted.
  public var encryption: DiskEncryption?
  /// From 1; nil: the guest does not boot from it.
  public var bootOrder: Int?
  /// The page cache is bypassed, which would hold the guest's blocks twice.
  public var directIO: Bool
  public var limits: IOLimits

  public init(
    _ disk: Assignment.Disk, source: DiskSource, ceph: CephAccess? = nil, encryption: DiskEncryption? = nil,
    bootOrder: Int? = nil, directIO: Bool
  ) {
    self.encryption = encryption
    self.ceph = ceph
    volume = disk.volume
    bus = disk.bus
    limits = disk.limits ?? IOLimits()
    self.source = source
    self.bootOrder = bootOrder
    self.directIO = directIO
  }

  private static let aliasPrefix = "ua-disk-"

  /// The disk's name inside libvirt, by which it is found again; libvirt lets only names with `ua-` be given.
  public static func alias(of volume: VolumeID) -> String { aliasPrefix + volume.uuid.uuidString.lowercased() }

  /// The UUID of the volume whose alias this is.
  static func volume(ofAlias alias: String) -> String? {
    alias.hasPrefix(aliasPrefix) ? String(alias.dropFirst(aliasPrefix.count)) : nil
  }

  /// What the names of disks on a bus begin with inside libvirt.
  static func targetPrefix(_ bus: DiskBus) -> String {
    switch bus {
    case .virtio: "vd"
    case .scsi: "sd"
    }
  }

  /// The first name on a bus that is not taken: `vda` … `vdz`, `vdaa` …
  static func target(on bus: DiskBus, taken: Set<String>) -> String {
    var number = 0
    while true {
      let name = targetPrefix(bus) + letters(number)
      if !taken.contains(name) { return name }
      number += 1
    }
  }

  private static func letters(_ number: Int) -> String {
    let last = String(UnicodeScalar(UInt8(ascii: "a") + UInt8(number % 26)))
    return number < 26 ? last : letters(number / 26 - 1) + last
  }

  /// The `<disk>` element.
  public func element(target: String) -> XML {
    .element("disk", ["type": type, "device": "disk"]) {
      content
      XML.element("target", ["dev": target, "bus": bus.rawValue])
      if !limits.isEmpty {
        XML.element("iotune") {
          for parameter in limits.parameters.filter({ $0.value > 0 }) {
            XML.element(parameter.name, text: parameter.value)
          }
        }
      }
      XML.element("serial", text: volume.serial)
      if let bootOrder { XML.element("boot", ["order": "\(bootOrder)"]) }
      XML.element("alias", ["name": Self.alias(of: volume)])
    }
  }
}

extension DiskSpecification {
  /// The `<disk>` element that names where a disk is to be copied to.
  var destination: XML { .element("disk", ["type": type]) { content } }

  private var type: String {
    switch source {
    case .file: "file"
    case .rbd: "network"
    }
  }

  @XMLContent private var content: [XML] {
    switch source {
    case .file(let path):
      XML.element(
        "driver",
        ["name": "qemu", "type": "qcow2", "cache": directIO ? "none" : "writeback", "discard": "unmap"])
      XML.element("source", ["file": path]) { if encryption != nil { DiskEncryption.element(of: volume) } }
      if let encryption { encryption.backing(of: volume) }
    case .rbd(let name):
      // The cache is librbd's own, which is written back when the guest asks for that.
      XML.element("driver", ["name": "qemu", "type": "raw", "cache": "writeback", "discard": "unmap"])
      if let ceph {
        XML.element("auth", ["username": ceph.client]) {
          XML.element("secret", ["type": "ceph", "uuid": ceph.secret.uuidString.lowercased()])
        }
      }
      XML.element("source", ["protocol": "rbd", "name": name]) {
        if let ceph { XML.element("config", ["file": ceph.configuration]) }
      }
    }
  }
}

extension Assignment {
  /// Its disks with what QEMU is to open; only those that have a source.
  func specifications(
    of sources: [VolumeID: DiskSource], _ encryption: [VolumeID: DiskEncryption] = [:], on platform: DomainPlatform
  ) -> [DiskSpecification] {
    // No two may have the same: libvirt refuses that.
    let order = disks.enumerated().filter { $0.element.bootIndex != nil }.sorted {
      ($0.element.bootIndex ?? 0, $0.offset) < ($1.element.bootIndex ?? 0, $1.offset)
    }.map(\.element.volume)
    return disks.compactMap { disk in
      sources[disk.volume].map { source in
        DiskSpecification(
          disk, source: source, ceph: platform.access(to: source), encryption: encryption[disk.volume],
          bootOrder: order.firstIndex(of: disk.volume).map { $0 + 1 }, directIO: platform.directIO)
      }
    }
  }

  /// A digest of what QEMU would open; nil while a source is missing.
  func sourceDigest(_ sources: [VolumeID: DiskSource], _ encryption: [VolumeID: DiskEncryption] = [:]) -> String? {
    guard disks.allSatisfy({ sources[$0.volume] != nil }) else { return nil }
    let lines = disks.map { disk in
      (["\(disk.volume) \(sources[disk.volume]?.path ?? "")"]
        + (encryption[disk.volume].map { ["luks"] + $0.names } ?? []))
        .joined(separator: " ")
    }
    return lines.isEmpty ? "" : Digest.short(lines.joined(separator: "\n"))
  }
}

/// Short names for long texts.
enum Digest {
  /// 64 bits of the text's SHA-256, in hexadecimal.
  static func short(_ text: String) -> String {
    SHA256.hash(data: Array(text.utf8)).prefix(8).map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
  }
}
