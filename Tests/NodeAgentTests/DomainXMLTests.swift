import AloftModel
import Foundation
import Libvirt
import Testing

@testable import NodeAgent

@Suite("Domain XML")
struct DomainXMLTests {
  func xml(
    _ document: Assignment = .sample(), _ accelerator: Accelerator = .tcg, directIO: Bool = true,
    datapath: Datapath = .kernel
  ) throws -> ParsedXML {
    let specification = DomainSpecification(
      document, sources: [.sample(1): .file("/d/a&b.qcow2"), .sample(2): .file("/d/c.qcow2")],
      paths: VMPaths(seed: "/d/seed.iso", serialLog: "/d/serial.log"),
      platform: DomainPlatform(
        architecture: "x86_64", accelerator: accelerator, directIO: directIO, datapath: datapath),
      tag: DomainTag(
        incarnation: 2, generation: 5, ranGeneration: 4, guestStopped: true, digest: "d"))
    return try ParsedXML(specification.xml)
  }

  @Test("the document's hardware is in the definition")
  func hardware() throws {
    let xml = try xml(Self.booting)
    #expect(xml.text("/domain/name") == VMID.sample(1).description)
    #expect(xml.text("/domain/uuid") == VMID.sample(1).uuid.uuidString.lowercased())
    #expect(xml.text("/domain/title") == "web <1>")
    #expect(xml.integer("/domain/vcpu") == 2)
    #expect(xml.integer("/domain/memory[@unit='MiB']") == 512)
    #expect(xml.text("//disk[target/@dev='vda']/source/@file") == "/d/a&b.qcow2")
    #expect(xml.text("//disk[target/@dev='vda']/driver/@cache") == "none")
    #expect(xml.text("//disk[target/@dev='vda']/serial") == VolumeID.sample(1).serial)
    #expect(xml.text("//disk[target/@dev='vda']/boot/@order") == "1" && !xml.has("/domain/os/boot"))
    #expect(xml.has("//disk[target/@dev='vdzz']/readonly"))
    #expect(xml.text("//serial/source/@append") == "on")
    #expect(!xml.has("//interface") && !xml.has("//graphics"))
  }

  static let booting = Assignment.sample(disks: [.sample(1, boot: 0)])

  @Test(
    "disks are in the order of the document, boot in the order of their indices, and are found again by their aliases")
  func disks() throws {
    let xml = try xml(.sample(disks: [.sample(2, bus: .scsi, boot: 7), .sample(1, boot: 3)]))
    #expect(xml.text("//disk[target/@dev='sda']/source/@file") == "/d/c.qcow2")
    #expect(xml.text("//disk[target/@dev='sda']/boot/@order") == "2")
    #expect(xml.text("//disk[target/@dev='vda']/boot/@order") == "1")
    let tied = try self.xml(.sample(disks: [.sample(2, boot: 1), .sample(1, boot: 1)]))
    #expect(
      tied.text("//disk[target/@dev='vda']/boot/@order") == "1"
        && tied.text("//disk[target/@dev='vdb']/boot/@order") == "2",
      "libvirt refuses one order twice")
    #expect(xml.has("//controller[@type='scsi' and @model='virtio-scsi']"))
    let found = try DomainDisk.all(inDomain: xml.xml)
    #expect(found.map(\.volume) == [.sample(2), .sample(1)] && found.map(\.target) == ["sda", "vda"])
    #expect(DiskSpecification.target(on: .virtio, taken: ["vda", "vdb", "vdzz"]) == "vdc")
    let letters = Set((UInt8(ascii: "a")...UInt8(ascii: "z")).map { "sd" + String(UnicodeScalar($0)) })
    #expect(DiskSpecification.target(on: .scsi, taken: letters) == "sdaa")
  }

  @Test("I/O limits are in the definition, change its digest, and are read back as they were said")
  func limits() throws {
    let limits = IOLimits([
      .totalIOPS: IOLimit(perSecond: 500, burst: 900, burstSeconds: 60), .readBytes: IOLimit(perSecond: 1 << 20),
      .writeBytes: IOLimit(perSecond: 1 << 20, burst: 1 << 21),
    ])
    let limited = Assignment.sample(disks: [.sample(1, boot: 0, limits: limits)])
    let xml = try xml(limited)
    #expect(xml.integer("//disk[target/@dev='vda']/iotune/total_iops_sec_max_length") == 60)
    #expect(xml.all("//iotune/*").count == 7)
    #expect(try DomainDisk.all(inDomain: xml.xml).map(\.limits) == [limits])
    #expect(try DomainDisk.all(inDomain: self.xml(Self.booting).xml).map(\.limits) == [IOLimits()])
    let platform = DomainPlatform(architecture: "x86_64", accelerator: .tcg, directIO: true)
    let digests = [limited, Self.booting].map {
      DomainSpecification.digest($0, paths: VMPaths(seed: "/s", serialLog: "/l"), platform: platform)
    }
    #expect(digests[0] != digests[1])
  }

  @Test("a disk of a Ceph cluster names the cluster's settings and libvirt's secret, never the key, and is found again")
  func ceph() throws {
    let access = CephAccess(pool: "vms", client: "node1", configuration: "/etc/ceph/a.conf", keyring: "/etc/ceph/a.key")
    var platform = DomainPlatform(architecture: "x86_64", accelerator: .tcg, directIO: true)
    let document = Assignment.sample(disks: [.sample(1, boot: 0), .sample(2, bus: .scsi)])
    let paths = VMPaths(seed: "/s", serialLog: "/l")
    let before = DomainSpecification.digest(document, paths: paths, platform: platform)
    platform.ceph = ["vms": access]
    #expect(DomainSpecification.digest(document, paths: paths, platform: platform) != before)
    let sources: [VolumeID: DiskSource] = [.sample(1): .rbd("vms/a"), .sample(2): .file("/d/c.qcow2")]
    let xml = try ParsedXML(
      DomainSpecification(
        document, sources: sources, paths: paths, platform: platform, tag: DomainTag(incarnation: 1, generation: 1)
      ).xml)
    let disk = try #require(xml.first("//disk[target/@dev='vda']"))
    #expect(disk.attribute("type") == "network" && disk.text("driver/@type") == "raw")
    #expect(disk.text("source/@protocol") == "rbd" && disk.text("source/@name") == "vms/a")
    #expect(disk.text("source/config/@file") == "/etc/ceph/a.conf" && disk.text("auth/@username") == "node1")
    #expect(disk.text("auth/secret/@uuid") == access.secret.uuidString.lowercased())
    #expect(!xml.xml.contains(access.keyring))
    #expect(try DomainDisk.all(inDomain: xml.xml).map(\.source) == [.rbd("vms/a"), .file("/d/c.qcow2")])
  }

  @Test("what the volumes lie in is told apart from what the machine is")
  func sources() {
    let document = Self.booting
    let first = document.sourceDigest([.sample(1): .file("/a")])
    #expect(first != nil && first != document.sourceDigest([.sample(1): .file("/b")]))
    #expect(document.sourceDigest([:]) == nil && Assignment.sample().sourceDigest([:]) == "")
  }

  @Test("the accelerator decides processor and translation cache")
  func accelerators() throws {
    let tcg = try xml(Self.booting)
    #expect(tcg.text("/domain/@type") == "qemu")
    #expect(tcg.integer("/domain/features/tcg/tb-cache") == 32)
    let kvm = try xml(Self.booting, .kvm, directIO: false)
    #expect(kvm.text("/domain/@type") == "kvm")
    #expect(kvm.text("/domain/cpu/@mode") == "host-model")
    #expect(!kvm.has("/domain/features/tcg"))
    #expect(kvm.text("//disk[target/@dev='vda']/driver/@cache") == "writeback")
  }

  @Test("the tag survives libvirt's way of returning metadata")
  func tags() throws {
    let tag = DomainTag(
      incarnation: 2, generation: 5, ranGeneration: 4, guestStopped: true, digest: "d", disks: "e")
    #expect(DomainTag(xml: tag.element(name: "a'b<c", declaringNamespace: false).string) == tag)
    #expect(DomainTag(xml: tag.element(name: "n", declaringNamespace: true).string) == tag)
    #expect(DomainTag(xml: "<vm generation='5'/>") == nil)
  }

  @Test("the digest follows the hardware, not the generation")
  func digests() {
    let platform = DomainPlatform(architecture: "x86_64", accelerator: .tcg, directIO: true)
    let paths = VMPaths(seed: "/s", serialLog: "/l")
    func digest(_ document: Assignment) -> String {
      DomainSpecification.digest(document, paths: paths, platform: platform)
    }
    var larger = Assignment.sample()
    larger.memoryMib *= 2
    #expect(digest(.sample()) == digest(.sample(incarnation: 3, generation: 9, power: .stopped)))
    #expect(digest(.sample()) != digest(larger))
    #expect(digest(.sample()) != digest(Self.booting), "another disk is other hardware")
  }

  @Test("a NIC is a port of br-int under its own UUID, with a device name that is told from it")
  func interfaces() throws {
    let document = Assignment.sample().with([.sample(1), .sample(2)], mtu: 1400)
    let kernel = try xml(document)
    let nic = try #require(kernel.first("//interface"))
    #expect(kernel.all("//interface").count == 2)
    #expect(nic.text("source/@bridge") == "br-int" && nic.text("virtualport/@type") == "openvswitch")
    #expect(nic.text("virtualport/parameters/@interfaceid") == NICID.sample(1).port)
    #expect(nic.text("mac/@address") == "02:00:00:00:00:01" && nic.text("model/@type") == "virtio")
    #expect(nic.text("mtu/@size") == "1400" && nic.text("rom/@enabled") == "no")
    let device = NICSpecification.device(of: .sample(1))
    #expect(nic.text("target/@dev") == device && device.hasPrefix("av") && device.utf8.count <= 15)
    #expect(device != NICSpecification.device(of: .sample(2)))
    #expect(!nic.has("driver"))
    #expect(try DomainNIC.all(inDomain: kernel.xml).map(\.id) == [.sample(1), .sample(2)])
    let userspace = try xml(document, datapath: .userspace)
    #expect(userspace.text("//interface/driver/host/@csum") == "off")
    #expect(userspace.text("//interface/driver/guest/@tso4") == "off")
  }

  @Test("a machine has ports to spare for NICs and disks to come")
  func ports() throws {
    let none = try xml().all("//controller[@model='pcie-root-port']").count
    #expect(try xml(Self.booting).all("//controller[@model='pcie-root-port']").count == none + 1)
    #expect(none == 9)
    #expect(try xml(.sample().with([.sample(1)])).all("//controller[@model='pcie-root-port']").count == none + 1)
  }
}
