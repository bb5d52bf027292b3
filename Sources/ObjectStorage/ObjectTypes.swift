import FoundationEssentials

/// The name of an object: segments of letters, digits, `.`, `_` and `-` with `/` between them, as `images/7f3c…`.
///
/// At most 512 bytes; no segment begins with a dot. In a directory an object cannot be a folder of another: having `a`
/// excludes `a/b`.
public struct ObjectKey: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
  /// The whole name.
  public let text: String

  /// Throws ``ObjectStoreError/invalidKey(_:)`` for anything else.
  public init(_ text: String) throws(ObjectStoreError) {
    let segments = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    let isValid = segments.allSatisfy { segment in
      (1...255).contains(segment.count) && segment.first != UInt8(ascii: ".") && segment.allSatisfy(Self.isAllowed)
    }
    guard isValid, text.utf8.count <= 512 else { throw .invalidKey(String(text.prefix(64))) }
    self.text = text
  }

  public init(from decoder: any Decoder) throws { try self.init(decoder.singleValueContainer().decode(String.self)) }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  public static func < (a: ObjectKey, b: ObjectKey) -> Bool { a.text.utf8.lexicographicallyPrecedes(b.text.utf8) }

  public var description: String { text }

  private static func isAllowed(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"),
      UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }
}

/// What a store knows of an object.
public struct ObjectInfo: Sendable, Equatable {
  /// Its name.
  public let key: ObjectKey
  /// Its size in bytes.
  public let size: Int64
  /// When it was made.
  public let modified: Date
}

/// Some objects of a list.
public struct ObjectPage: Sendable, Equatable {
  /// In the order of their keys.
  public let objects: [ObjectInfo]
  /// What to ask for the rest with; nil: there is none.
  public let next: String?
}

/// An upload that nobody has finished.
public struct UploadLeftover: Sendable, Equatable {
  /// The store's name for it.
  public let id: String
  /// What it was to become; a directory does not remember.
  public let key: ObjectKey?
  /// When it was last written to; S3: when it was begun.
  public let date: Date
}

/// All that it takes to go on with an upload in another process: to be kept as JSON. No secret is in it.
public struct UploadState: Sendable, Equatable, Codable {
  /// What the upload is to become.
  public let key: ObjectKey
  /// Its size, where that was known at the beginning.
  public let size: Int64?
  /// How many bytes of it the store has.
  public internal(set) var durableBytes: Int64 = 0
  /// The store's name for it, as ``UploadLeftover/id``. S3 has none before the first part.
  public internal(set) var id: String
  /// SHA-256 of the durable bytes, as far as it is computed.
  var hash: RunningHash
  /// S3: how many parts the durable bytes are in, of what size.
  var parts = 0
  var partBytes: Int64 = 0
  /// S3: SHA-256 over the entity tags and sizes of these parts.
  var partsHash = RunningHash()
}

/// The bytes of an object, once, at the reader's pace.
public struct ObjectContent: AsyncSequence, Sendable {
  public typealias Element = [UInt8]
  public typealias Failure = ObjectStoreError

  /// The whole object.
  public let info: ObjectInfo
  /// Which of its bytes are read.
  public let range: Range<Int64>
  let source: any ContentSource

  /// The iterator over runs of bytes.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let source: any ContentSource

    /// The next bytes, never empty; nil at the end of the range.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async throws(ObjectStoreError) -> [UInt8]? {
      try await source.next()
    }
  }

  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(source: source) }
}

/// Where an ``ObjectContent`` takes its bytes from.
protocol ContentSource: Sendable {
  func next() async throws(ObjectStoreError) -> [UInt8]?
}

/// Time and chance, as a store sees them.
public struct StoreEnvironment: Sendable {
  /// The time now; S3 checks it to within 15 minutes.
  public var now: @Sendable () -> Date
  /// Waits; throws when the task is cancelled.
  public var sleep: @Sendable (Duration) async throws -> Void
  /// Random bits.
  public var random: @Sendable () -> UInt64

  /// Makes an environment.
  public init(
    now: @escaping @Sendable () -> Date, sleep: @escaping @Sendable (Duration) async throws -> Void,
    random: @escaping @Sendable () -> UInt64
  ) {
    self.now = now
    self.sleep = sleep
    self.random = random
  }

  /// The system's clock and randomness.
  public static let system = StoreEnvironment(
    now: { Date() }, sleep: { try await Task.sleep(for: $0) }, random: { .random(in: .min ... .max) })
}
