import FoundationEssentials

/// Hashes that are the same in every process, unlike `Hasher`'s: a seed must give the same decision everywhere.
enum Mixing {
  /// SplitMix64's finalizer (Steele, Lea, Flood 2014).
  @inline(__always)
  static func mix(_ value: UInt64) -> UInt64 {
    var mixed = value &+ 0x9E37_79B9_7F4A_7C15
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  static func hash(_ id: UUID) -> UInt64 {
    withUnsafeBytes(of: id.uuid) { bytes in
      let high = bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
      let low = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      return mix(mix(UInt64(bigEndian: high)) ^ UInt64(bigEndian: low))
    }
  }
}
