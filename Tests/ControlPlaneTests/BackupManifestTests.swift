import AloftModel
import Foundation
import Testing

@Suite("Manifests of backups")
struct BackupManifestTests {
  @Test("a manifest reads as it was written, and nothing else is one")
  func text() throws {
    let owner = BackupID(UUID())
    let hash = try #require(ChunkHash(Array(0..<32)))
    #expect(ChunkHash(hexadecimal: Array(hash.description.utf8)) == hash && hash.bytes == Array(0..<32))
    let manifest = BackupManifest(
      sizeBytes: 1 << 30, chunkBytes: 1 << 20, reading: .incremental, readBytes: 7,
      chunks: [0: .init(owner: owner, hash: hash), 1023: .init(owner: owner, hash: hash)])
    #expect(BackupManifest(text: manifest.text) == manifest)
    var sealed = manifest
    sealed.sealing = VolumeID(UUID())
    #expect(BackupManifest(text: sealed.text) == sealed, "it says whose key it is sealed with")
    #expect(sealed.storedBytes(at: 5) == sealed.bytes(at: 5) + 48 && manifest.storedBytes(at: 5) == 1 << 20)
    let whole = String(decoding: sealed.text, as: UTF8.self)
    #expect(whole.hasPrefix("aloft-backup 2\nsealed vol_"), "who knows the first version alone reads nothing of it")
    for bad in [whole.replacing("backup 2", with: "backup 1"), whole.replacing("sealed vol_", with: "sealed x")] {
      #expect(BackupManifest(text: Array(bad.utf8)) == nil, "\(bad)")
    }
    let text = String(decoding: manifest.text, as: UTF8.self)
    for bad in [
      "", "\n", text + "1024 0 \(hash)\n", text + "0 0 \(hash)\n", text.replacing("1023 0", with: "1023 1"),
      text.replacing("aloft-backup 1", with: "aloft-backup 2"), String(text.dropLast(2)) + "\n",
      String(text.dropLast()),
      text.replacing("size 1073741824", with: "size 0"), text.replacing("chunk 1048576", with: "chunk 1"),
    ] {
      #expect(BackupManifest(text: Array(bad.utf8)) == nil, "\(bad)")
    }
    #expect(BackupManifest.chunkBytes(of: 1 << 30) == 1 << 20 && BackupManifest.chunkBytes(of: 4 << 40) == 16 << 20)
  }
}
