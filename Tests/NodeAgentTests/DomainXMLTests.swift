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
      document,
      paths: VMPaths(disk: "/d/a&b.qcow2", seed: "/d/seed.iso", serialLog: "/d/serial.log"),
      platform: DomainPlatform(
        architecture: "x86_64", accelerator: accelerator, directIO: directIO, datapath: datapath),
      tag: DomainTag(
        incarnation: 2, generation: 5, ranGeneration: 4, guestStopped: true, digest: "d"))
    return try ParsedXML(specification.xml)
  }

  @Test("the document's hardware is in the definition")
  func hardware() throws {
    let xml = try xml()
    #expect(xml.text("/domain/name") == VMID.sample(1).description)
    #expect(xml.text("/domain/uuid") == VMID.sample(1).uuid.uuidString.lowercased())
    #expect(xml.text("/domain/title") == "web <1>")
    #expect(xml.integer("/domain/vcpu") == 2)
    #expect(xml.integer("/domain/memory[@unit='MiB']") == 512)
    #expect(xml.text("//disk[target/@dev='vda']/source/@file") == "/d/a&b.qcow2")
    #expect(xml.text("//disk[target/@dev='vda']/driver/@cache") == "none")
    #expect(xml.has("//disk[target/@dev='vdb']/readonly"))
    #expect(xml.text("//serial/source/@append") == "on")
    #expect(!xml.has("//interface") && !xml.has("//graphics"))
  }

  @Test("the accelerator decides processor and translation cache")
  func accelerators() throws {
    let tcg = try xml()
    #expect(tcg.text("/domain/@type") == "qemu")
    #expect(tcg.integer("/domain/features/tcg/tb-cache") == 32)
    let kvm = try xml(.sample(), .kvm, directIO: false)
    #expect(kvm.text("/domain/@type") == "kvm")
    #expect(kvm.text("/domain/cpu/@mode") == "host-model")
    #expect(!kvm.has("/domain/features/tcg"))
    #expect(kvm.text("//disk[target/@dev='vda']/driver/@cache") == "writeback")
  }

  @Test("the tag survives libvirt's way of returning metadata")
  func tags() throws {
    let tag = DomainTag(
      incarnation: 2, generation: 5, ranGeneration: 4, guestStopped: true, digest: "d")
    #expect(DomainTag(xml: tag.element(name: "a'b<c", declaringNamespace: false).string) == tag)
    #expect(DomainTag(xml: tag.element(name: "n", declaringNamespace: true).string) == tag)
    #expect(DomainTag(xml: "<vm generation='5'/>") == nil)
  }

  @Test("the digest follows the hardware, not the generation")
  func digests() {
    let platform = DomainPlatform(architecture: "x86_64", accelerator: .tcg, directIO: true)
    let paths = VMPaths(disk: "/d", seed: "/s", serialLog: "/l")
    func digest(_ document: Assignment) -> String {
      DomainSpecification.digest(document, paths: paths, platform: platform)
    }
    var larger = Assignment.sample()
    larger.memoryMib *= 2
    #expect(digest(.sample()) == digest(.sample(incarnation: 3, generation: 9, power: .stopped)))
    #expect(digest(.sample()) != digest(larger))
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

  @Test("a machine has ports to spare for NICs to come, where there are networks")
  func ports() throws {
    #expect(!(try xml()).has("//controller[@type='pci']"))
    let none = try xml(.sample().with([])).all("//controller[@model='pcie-root-port']").count
    #expect(none == 9)
    #expect(try xml(.sample().with([.sample(1)])).all("//controller[@model='pcie-root-port']").count == none + 1)
  }
}
