import AloftModel
import Foundation
import Libvirt
import Testing

@testable import NodeAgent

@Suite("Rules of encrypted volumes")
struct EncryptionRuleTests {
  private func locked(key: VolumeKey? = nil, deleted: Bool = false) -> VolumeAssignment {
    var document = VolumeAssignment.sample(deleted: deleted)
    document.encrypted = true
    document.key = key
    return document
  }

  @Test(
    "nothing is done with a volume whose key is missing, but that it can be deleted; its guest waits and is told why")
  func plan() throws {
    let key = try #require(VolumeKey([UInt8](repeating: 7, count: 32)))
    let stored = StoredVolume(sizeBytes: 1 << 30, source: .file("/leaf"))
    for look in [VolumeLook.absent, .whole(stored)] {
      let plan = VolumePlan.make(locked(), ActualVolume(look: look, use: .nobody), now: 0, usual: 9)
      #expect(plan.steps == [] && plan.problem?.code == .volumeLocked)
      #expect(!locked().isReady(look))
    }
    #expect(VolumePlan.make(locked(key: key), ActualVolume(), now: 0, usual: 9).steps == [.create])
    #expect(locked(key: key).isReady(.whole(stored)))
    let doomed = ActualVolume(look: .whole(stored), use: .nobody)
    #expect(VolumePlan.make(locked(deleted: true), doomed, now: 0, usual: 9).steps == [.delete])
  }

  @Test("a key shows in nothing that is printed, travels as base64, and only with all of its bits")
  func printed() throws {
    let key = try #require(VolumeKey((0..<32).map { UInt8($0) }))
    var text = ""
    dump(locked(key: key), to: &text)
    for said in [text, "\(key)", String(reflecting: key), "\(locked(key: key))"] { #expect(!said.contains(key.text)) }
    let coded = try JSONEncoder().encode([key])
    #expect(try JSONDecoder().decode([VolumeKey].self, from: coded) == [key])
    #expect(VolumeKey([1, 2, 3]) == nil)
    #expect(throws: DecodingError.self) { try JSONDecoder().decode([VolumeKey].self, from: Data(#"["AAAA"]"#.utf8)) }
  }

  @Test("the definition names the secret of each layer and no key; whatever lies below changes its digest")
  func definition() throws {
    let volume = VolumeID.sample(1)
    let base = DiskEncryption.Base(path: "/images/a", format: "raw")
    let document = Assignment.sample(disks: [.sample(1, boot: 0)])
    func xml(_ encryption: DiskEncryption?) throws -> ParsedXML {
      try ParsedXML(
        DomainSpecification(
          document, sources: [volume: .file("/leaf")], encryption: encryption.map { [volume: $0] } ?? [:],
          paths: VMPaths(seed: "/s", serialLog: "/l"),
          platform: DomainPlatform(architecture: "x86_64", accelerator: .tcg, directIO: true),
          tag: DomainTag(incarnation: 1, generation: 1)
        ).xml)
    }
    let two = try xml(DiskEncryption(below: ["/second", "/first"], base: base))
    let secret = DiskEncryption.secret(of: volume).uuidString.lowercased()
    #expect(
      two.all("//disk[target/@dev='vda']//encryption/secret").map { $0.attribute("uuid") } == [secret, secret, secret])
    #expect(
      two.all("//disk[target/@dev='vda']//backingStore/source").map { $0.attribute("file") }
        == ["/second", "/first", "/images/a"])
    #expect(
      !two.has("//source[@file='/images/a']/encryption")
        && two.text("//backingStore[source/@file='/images/a']/format/@type") == "raw")
    #expect(try !xml(nil).has("//backingStore") && !xml(nil).has("//encryption"))
    #expect(try DomainDisk.all(inDomain: two.xml).map(\.source) == [.file("/leaf")])
    let encryptions: [DiskEncryption?] = [
      nil, DiskEncryption(), DiskEncryption(below: ["/first"]), DiskEncryption(below: ["/first"], base: base),
    ]
    let digests = encryptions.map { encryption in
      document.sourceDigest([volume: .file("/leaf")], encryption.map { [volume: $0] } ?? [:])
    }
    #expect(Set(digests).count == encryptions.count && !digests.contains(nil))
  }
}
