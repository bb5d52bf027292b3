import AloftModel
import Foundation
import Libvirt
import Testing

@testable import NodeAgent

@Suite("Domain XML")
struct DomainXMLTests {
  func xml(
    _ document: Assignment = .sample(), _ accelerator: Accelerator = .tcg, directIO: Bool = true
  ) throws -> ParsedXML {
    let specification = DomainSpecification(
      document,
      paths: VMPaths(disk: "/d/a&b.qcow2", seed: "/d/seed.iso", serialLog: "/d/serial.log"),
      platform: DomainPlatform(
        architecture: "x86_64", accelerator: accelerator, directIO: directIO),
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
}
