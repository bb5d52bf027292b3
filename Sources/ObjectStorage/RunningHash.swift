import CSHA256
import Execution
import FoundationEssentials

/// SHA-256 (FIPS 180-4) that can be kept half-way and go on in another process.
///
/// This is why an upload need not be read back to be verified: parts of an S3 upload cannot be read before it is finished, and
/// once it is finished it has its name.
struct RunningHash: Sendable {
  private var context = SHA256_CTX()

  init() { aloft_sha256_begin(&context) }

  mutating func add(_ bytes: some Sequence<UInt8>) {
    let added: Void? = bytes.withContiguousStorageIfAvailable { aloft_sha256_add(&context, $0.baseAddress, $0.count) }
    if added == nil { add(Array(bytes)) }
  }

  /// The hash of everything so far, in hexadecimal. Adding can go on.
  var hexadecimal: String { Self.hexadecimal(digest) }

  var digest: [UInt8] {
    var copy = context
    return [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
      aloft_sha256_end(&copy, buffer.baseAddress)
      count = 32
    }
  }

  static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  static func hexadecimal(of bytes: some Sequence<UInt8>) -> String {
    var hash = RunningHash()
    hash.add(bytes)
    return hash.hexadecimal
  }

  fileprivate static let stateBytes = 104

  fileprivate var saved: [UInt8] {
    var copy = context
    return [UInt8](unsafeUninitializedCapacity: Self.stateBytes) { buffer, count in
      aloft_sha256_save(&copy, buffer.baseAddress)
      count = Self.stateBytes
    }
  }
}

extension RunningHash: Equatable {
  static func == (a: RunningHash, b: RunningHash) -> Bool { a.saved == b.saved }
}

extension RunningHash: Codable {
  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let state = try container.decode(Data.self)
    guard state.count == Self.stateBytes else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "the state of a hash has 104 bytes")
    }
    aloft_sha256_restore(&context, Array(state))
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(Data(saved))
  }
}

/// Hashes away from the cooperative pool: a gigabyte takes seconds.
actor HashingThread {
  private let thread = DedicatedThread(name: "object-hash")
  private var hash = RunningHash()

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  func add(_ bytes: [UInt8]) { hash.add(bytes) }
  var digest: String { hash.hexadecimal }
}
