import DiskImageTestSupport
import Foundation
import TestSupport
import Testing

@testable import DiskImages

/// xorshift64*: the same numbers for the same seed, everywhere.
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_F491_4F6C_DD1D
  }
}

@Suite("Random damage")
struct MutationTests {
  private static let interesting: [UInt64] = [
    0, 1, 2, 511, 512, 0xFFFF, 1 << 31, 1 << 32, 1 << 56, 1 << 62, 1 << 63, .max,
  ]

  private static func damage(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
    for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
      // Half of it in the header, the rest where the tables are.
      let area = Bool.random(using: &random) ? min(128, bytes.count) : bytes.count
      let place = Int.random(in: 0..<area, using: &random)
      switch Int.random(in: 0..<5, using: &random) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
      case 2, 3:
        let value = interesting.randomElement(using: &random) ?? 0
        let width = Bool.random(using: &random) ? 8 : 4
        for index in 0..<width where place / 8 * 8 + index < bytes.count {
          bytes[place / 8 * 8 + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (width - 1 - index)))
        }
      default: bytes.removeSubrange(place...)
      }
    }
  }

  private static let images: [QCOW2Bytes] = {
    var compressed = QCOW2Bytes(clusterBits: 12, virtualSize: 1 << 16, dataClusters: 1)
    for cluster in 0..<16 {
      compressed.map(cluster, to: compressed.compressedEntry(at: compressed.data + 100 * cluster))
    }
    var extended = QCOW2Bytes(clusterBits: 14, virtualSize: 1 << 18, dataClusters: 1)
    extended.put(16, at: 72, width: 8)
    extended.put(0x0000_FFFF_0000_0000 | 0xFF, at: extended.l2 + 8, width: 8)
    return [
      QCOW2Bytes(clusterBits: 9, virtualSize: 4096), QCOW2Bytes(version: 2, clusterBits: 12, virtualSize: 1 << 16),
      compressed, extended,
    ]
  }()

  @Test("no damage makes the rule crash or run away", arguments: 0..<4)
  func survives(seed: Int) {
    var random = SeededRandom(seed: UInt64(seed + 1))
    var accepted = 0
    for round in 0..<1000 {
      var bytes = Self.images[round % Self.images.count].bytes
      Self.damage(&bytes, &random)
      if refusal(of: bytes, ImageLimits(maxTableBytes: 4 << 20)) == nil { accepted += 1 }
    }
    // Damage to data alone is none that anybody could see.
    #expect(accepted > 0)
    #expect(accepted < 1000)
  }

  @Test("no damage to real tables makes the rule crash; what it accepts, QEMU can read whole")
  func realTables() async throws {
    let folder = try Folder()
    let image = folder.path + "/disk.qcow2"
    try await run("qemu-img", "create", "-f", "qcow2", "-o", "cluster_size=512", image, "64k")
    try await run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 8k", "-c", "write 32k 1k", image)
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: image)))
    var random = SeededRandom(seed: 99)
    var checked = 0
    for _ in 0..<3000 where checked < 20 {
      var copy = bytes
      Self.damage(&copy, &random)
      guard copy != bytes, copy.starts(with: [0x51, 0x46, 0x49, 0xFB]), refusal(of: copy) == nil else { continue }
      checked += 1
      let path = try folder.file("damaged", copy)
      try await run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, path + ".raw")
    }
    #expect(checked > 0)
  }

  @Test("no damage to deflate data makes inflating crash")
  func inflate() {
    // "hello hello hello", by zlib with its largest effort, without header and sum.
    let good: [UInt8] = [0xCB, 0x48, 0xCD, 0xC9, 0xC9, 0x57, 0xC8, 0x40, 0x90, 0x00]
    #expect(Inflate.prefix(of: good, count: 17) == Array("hello hello hello".utf8))
    #expect(Inflate.prefix(of: good, count: 18) == nil)
    var random = SeededRandom(seed: 5)
    for _ in 0..<5000 {
      var bytes = good + (0..<20).map { _ in UInt8.random(in: .min ... .max, using: &random) }
      Self.damage(&bytes, &random)
      _ = Inflate.prefix(of: bytes, count: 4096)
    }
  }
}
