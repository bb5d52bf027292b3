import AloftModel
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Sealed chunks of backups")
struct ChunkSealTests {
  private let volume = VolumeID.sample(1)
  private let content = Array("what a volume holds".utf8) + [UInt8](repeating: 0, count: 4096)

  @Test("what is sealed is opened by the volume's key alone")
  func round() throws {
    let key = try VolumeKey.random()
    let seal = ChunkSeal(key, of: volume)
    let sealed = try seal.seal(content)
    #expect(sealed.count == content.count + BackupManifest.sealBytes)
    #expect(try seal.open(sealed) == content)
    for other in [ChunkSeal(try VolumeKey.random(), of: volume), ChunkSeal(key, of: .sample(2))] {
      #expect { try other.open(sealed) } throws: { ($0 as? AgentFailure)?.kind == .backupDamaged }
    }
  }

  @Test("equal chunks of a volume are equal sealed; others differ everywhere, and so do those of other volumes")
  func equal() throws {
    let key = try VolumeKey.random()
    let seal = ChunkSeal(key, of: volume)
    let sealed = try seal.seal(content)
    #expect(try ChunkSeal(key, of: volume).seal(content) == sealed)
    var changed = content
    changed[content.count - 1] = 1
    for other in [try seal.seal(changed), try ChunkSeal(key, of: .sample(2)).seal(content)] {
      let equal = zip(sealed, other).count { $0 == $1 }
      #expect(equal < sealed.count / 20, "one byte in 256 is the same by chance, not \(equal)")
    }
    // All zeros, but the first byte: what is sealed of it looks like noise, too.
    let noise = try seal.seal([1] + [UInt8](repeating: 0, count: 65535))
    #expect(Set(noise).count == 256)
  }

  @Test("a chunk of which anything was changed, that was cut or made longer is refused")
  func tampered() throws {
    let seal = ChunkSeal(try VolumeKey.random(), of: volume)
    let sealed = try seal.seal(content)
    for position in [0, 31, 32, 1000, sealed.count - 16, sealed.count - 1] {
      var changed = sealed
      changed[position] ^= 1
      #expect(throws: AgentFailure.self, "byte \(position)") { try seal.open(changed) }
    }
    for bad in [[], Array(sealed.prefix(48)), Array(sealed.dropLast()), sealed + [0], content] {
      #expect(throws: AgentFailure.self, "\(bad.count) bytes") { try seal.open(bad) }
    }
  }
}
