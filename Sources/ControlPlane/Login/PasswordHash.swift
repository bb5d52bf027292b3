import Crypto
import CryptoExtras
import Foundation

/// What a password costs to try: the parameters of scrypt (RFC 7914, section 2). One try takes 128 × `cost` × `blockSize` bytes
/// of memory, and time in proportion to that and to `parallelism`.
public struct PasswordCost: Sendable, Equatable {
  /// N: a power of two.
  public var cost: Int
  /// r.
  public var blockSize: Int
  /// p.
  public var parallelism: Int

  public init(cost: Int, blockSize: Int, parallelism: Int) {
    (self.cost, self.blockSize, self.parallelism) = (cost, blockSize, parallelism)
  }

  /// 32 MiB, as OWASP's Password Storage Cheat Sheet asks for that much memory.
  public static let standard = PasswordCost(cost: 1 << 15, blockSize: 8, parallelism: 3)
}

/// A password as it is stored.
struct PasswordHash: Sendable, Equatable {
  static let saltBytes = 16
  static let hashBytes = 32

  var cost: PasswordCost
  var salt: [UInt8]
  var hash: [UInt8]

  /// Takes a tenth of a second and much memory: only for ``PasswordHasher``'s threads.
  static func make(of password: [UInt8], salt: [UInt8], cost: PasswordCost) throws -> PasswordHash {
    PasswordHash(cost: cost, salt: salt, hash: try derive(password, salt: salt, cost: cost))
  }

  /// Whether it is the hash of this password; compared in constant time. As slow as ``make(of:salt:cost:)``.
  func isOf(_ password: [UInt8]) throws -> Bool {
    let other = try Self.derive(password, salt: salt, cost: cost)
    return zip(hash, other).reduce(UInt8(hash.count == other.count ? 0 : 1)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  /// What is tried for a user who is not there: no password has it.
  static func dummy(_ cost: PasswordCost) -> PasswordHash {
    PasswordHash(
      cost: cost, salt: [UInt8](repeating: 0, count: saltBytes), hash: [UInt8](repeating: 0, count: hashBytes))
  }

  private static func derive(_ password: [UInt8], salt: [UInt8], cost: PasswordCost) throws -> [UInt8] {
    let key = try KDF.Scrypt.deriveKey(
      from: password, salt: salt, outputByteCount: hashBytes, rounds: cost.cost, blockSize: cost.blockSize,
      parallelism: cost.parallelism)
    return key.withUnsafeBytes { Array($0) }
  }
}
