import Crypto
import Foundation
import Glibc

// Invariants
// - What is sealed can be read by whoever has the key and knows the purpose and the subject; a copy of the database, or a
//   sealed value in another row than its own, is worth nothing.
// - The newest key seals, every key opens: so a key can be replaced while replicas run.
// - No error names a key or what was sealed.

/// What a sealed value is for. Each purpose has a key of its own.
public enum SealingPurpose: String, Sendable, CaseIterable {
  case authorityKey = "authority key"
  case webhookSecret = "webhook secret"
  case volumeKey = "volume key"
}

/// The operator's keys, with which secrets that Aloft needs again lie in the database (AES-256-GCM).
///
/// A sealed value is one byte of version, the key's id (8 bytes), the nonce (12 bytes, random), the ciphertext and the tag
/// (16 bytes). The purpose's key is derived by HKDF-SHA-256 (RFC 5869); all before the nonce, the purpose and the subject are
/// authenticated with it.
public struct SealingKey: Sendable {
  /// Why there is no key, or why a value cannot be opened.
  public enum Failure: Error, CustomStringConvertible, Sendable, Equatable {
    /// Nobody gave a key.
    case missing
    /// What was given is no list of keys.
    case malformed(place: String)
    /// The file cannot be read.
    case unreadable(path: String, reason: String)
    /// Others than its owner can read the file, or change it.
    case exposed(path: String, mode: String)
    /// The value was sealed with a key that was not given.
    case unknownKey(id: String)
    /// The value was changed, or belongs to something else.
    case notAuthentic

    public var description: String {
      switch self {
      case .missing:
        """
        there is no sealing key, which protects what the database holds; make one with aloftd sealing-key create --out FILE \
        and name it by --sealing-key-file or ALOFT_SEALING_KEY_FILE. All replicas need the same
        """
      case .malformed(let place):
        """
        \(place) is no sealing key: it holds 32 random bytes in base64, as openssl rand -base64 32 makes them; one key in \
        each line, the newest first
        """
      case .unreadable(let path, let reason): "the sealing key \(path) cannot be read: \(reason)"
      case .exposed(let path, let mode):
        "the sealing key \(path) has mode \(mode), so others can read or change it; chmod 600 \(path) mends that"
      case .unknownKey(let id):
        "a value was sealed with key \(id), which is not among the sealing keys; add it behind the newest one"
      case .notAuthentic: "a sealed value was changed, or is not where it belongs"
      }
    }
  }

  private struct Key: Sendable {
    let id: [UInt8]
    let secret: SymmetricKey

    init(_ bytes: [UInt8]) {
      secret = SymmetricKey(data: bytes)
      id = SealingKey.derive(secret, "aloft sealing key id", count: SealingKey.idBytes).withUnsafeBytes { Array($0) }
    }
  }

  private static let version: UInt8 = 1
  private static let keyBytes = 32
  private static let idBytes = 8
  /// More would be a mistake: old keys are for the time until everything is sealed anew.
  private static let mostKeys = 16

  private let keys: [Key]
  private let newest: Key

  /// Reads keys in base64, the newest first, separated by line ends or commas. A line that begins with `#` is a comment.
  ///
  /// - Parameter place: where the text was found, for the error. Throws a ``Failure``.
  public init(_ text: String, place: String = "the text") throws(Failure) {
    let words = text.split(whereSeparator: { $0.isNewline }).map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.hasPrefix("#") }.flatMap { $0.split(separator: ",") }
      .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    let keys = words.compactMap { word -> Key? in
      guard let data = Data(base64Encoded: word), data.count == Self.keyBytes else { return nil }
      return Key(Array(data))
    }
    guard keys.count == words.count, keys.count <= Self.mostKeys, let newest = keys.first else {
      throw .malformed(place: place)
    }
    self.keys = keys
    self.newest = newest
  }

  /// Reads a file that nobody but its owner can change, and nobody but its owner and its group can read. Throws a ``Failure``.
  public init(file path: String) throws(Failure) {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .unreadable(path: path, reason: String(cString: strerror(errno))) }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw .unreadable(path: path, reason: String(cString: strerror(errno)))
    }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .unreadable(path: path, reason: "it is no file") }
    guard status.st_mode & 0o027 == 0 else {
      throw .exposed(path: path, mode: String(status.st_mode & 0o777, radix: 8))
    }
    let bytes: Data
    do { bytes = try file.read(upToCount: 64 << 10) ?? Data() } catch {
      throw .unreadable(path: path, reason: "\(error)")
    }
    try self.init(String(decoding: bytes, as: UTF8.self), place: path)
  }

  /// A new key in base64.
  public static func generate() -> String {
    SymmetricKey(size: .bits256).withUnsafeBytes { Data($0) }.base64EncodedString()
  }

  /// Ids of the keys, the newest first; they tell nothing about the keys.
  public var ids: [String] { keys.map { Self.hexadecimal($0.id) } }

  /// Seals `bytes` with the newest key.
  ///
  /// - Parameter subject: whose it is, such as an id: it cannot be opened as somebody else's.
  public func seal(_ bytes: [UInt8], for purpose: SealingPurpose, of subject: String) throws -> [UInt8] {
    let head = [Self.version] + newest.id
    let box = try AES.GCM.seal(
      bytes, using: Self.key(newest, purpose), authenticating: Self.context(head, purpose, subject))
    return head + Array(box.nonce) + Array(box.ciphertext) + Array(box.tag)
  }

  /// What was sealed. Throws a ``Failure``.
  public func open(_ sealed: [UInt8], for purpose: SealingPurpose, of subject: String) throws(Failure) -> [UInt8] {
    let head = Array(sealed.prefix(1 + Self.idBytes))
    guard head.count == 1 + Self.idBytes, head[0] == Self.version else { throw .notAuthentic }
    guard let key = keys.first(where: { $0.id == Array(head.dropFirst()) }) else {
      throw .unknownKey(id: Self.hexadecimal(Array(head.dropFirst())))
    }
    do {
      return Array(
        try AES.GCM.open(
          AES.GCM.SealedBox(combined: sealed.dropFirst(head.count)), using: Self.key(key, purpose),
          authenticating: Self.context(head, purpose, subject)))
    } catch {
      throw .notAuthentic
    }
  }

  /// Whether the newest key sealed this value: if not, it is to be sealed anew before the old key can go.
  public func isCurrent(_ sealed: [UInt8]) -> Bool { sealed.dropFirst().prefix(Self.idBytes).elementsEqual(newest.id) }

  private static func key(_ key: Key, _ purpose: SealingPurpose) -> SymmetricKey {
    derive(key.secret, "aloft sealing: \(purpose.rawValue)", count: keyBytes)
  }

  private static func context(_ head: [UInt8], _ purpose: SealingPurpose, _ subject: String) -> [UInt8] {
    head + Array("\(purpose.rawValue)\0\(subject)".utf8)
  }

  private static func derive(_ secret: SymmetricKey, _ info: String, count: Int) -> SymmetricKey {
    HKDF<SHA256>.deriveKey(inputKeyMaterial: secret, info: Array(info.utf8), outputByteCount: count)
  }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
