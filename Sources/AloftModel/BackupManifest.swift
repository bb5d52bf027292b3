import Foundation

// What a backup consists of.
//
// A volume is cut into chunks of the same size. Those that are not all zeros are kept as they are, named by their SHA-256, each by the
// backup that sent it; the manifest says which chunk is where. Every manifest is whole: a backup that read only what has changed names
// the chunks of earlier ones for the rest.
//
// Of an encrypted volume its node seals each chunk before it is sent, with the volume's key: what travels, and what the store has, is the
// sealed chunk, and its SHA-256 is the chunk's name.
//
// How they travel, as node agents see it:
//
//   GET  /agent/v1/backups/{id}/manifest               of one that is restored here, or that another one made here builds on
//   GET  /agent/v1/backups/{id}/chunks/{owner}/{sha}   a chunk of a backup that is restored here
//   POST /agent/v1/backups/{id}/missing                ``ChunkList`` → those that the backup does not have yet
//   PUT  /agent/v1/backups/{id}/chunks/{sha}           a chunk's bytes
//   PUT  /agent/v1/backups/{id}/manifest               the manifest; with it the backup is made
//   PUT  /agent/v1/backups/{id}/progress               ``ExportReport``
//
// Each is answered 404 when the backup is not wanted from the node, or not any more.

/// A SHA-256.
public struct ChunkHash: Sendable, Hashable, Comparable, CustomStringConvertible {
  private var words: (UInt64, UInt64, UInt64, UInt64)

  /// Nil unless there are 32 bytes.
  public init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == 32 else { return nil }
    var words: [UInt64] = [0, 0, 0, 0]
    for (index, byte) in bytes.enumerated() { words[index >> 3] = words[index >> 3] << 8 | UInt64(byte) }
    self.words = (words[0], words[1], words[2], words[3])
  }

  /// Reads 64 lower-case hexadecimal digits.
  public init?(hexadecimal: some Collection<UInt8>) {
    guard hexadecimal.count == 64 else { return nil }
    var words: [UInt64] = [0, 0, 0, 0]
    for (index, digit) in hexadecimal.enumerated() {
      let value: UInt8
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
      default: return nil
      }
      words[index >> 4] = words[index >> 4] << 4 | UInt64(value)
    }
    self.words = (words[0], words[1], words[2], words[3])
  }

  public var bytes: [UInt8] {
    [words.0, words.1, words.2, words.3].flatMap { word in
      (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) }
    }
  }

  /// In hexadecimal.
  public var description: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  public static func == (a: ChunkHash, b: ChunkHash) -> Bool { a.words == b.words }
  public static func < (a: ChunkHash, b: ChunkHash) -> Bool { a.words < b.words }

  public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// Which chunk is where in a volume.
///
/// Text: a line each for the version, the volume with whose key chunks are sealed (if they are), the size, the size of a chunk, how it was
/// read, how many bytes were read, and the backups that have sent chunks; then a line for each chunk that is not all
/// zeros, in their order: its number, that of the backup, its SHA-256.
public struct BackupManifest: Sendable, Equatable {
  /// A chunk, by the backup that sent it.
  public struct Chunk: Sendable, Hashable {
    public var owner: BackupID
    public var hash: ChunkHash

    public init(owner: BackupID, hash: ChunkHash) {
      self.owner = owner
      self.hash = hash
    }
  }

  public var sizeBytes: Int
  public var chunkBytes: Int
  public var reading: BackupReading
  /// How much of the volume was read for it.
  public var readBytes: Int
  public var chunks: [Int: Chunk]
  /// The volume with whose key chunks are sealed; nil: they are what the volume holds.
  public var sealing: VolumeID?

  /// The largest volume that can be backed up, and how many chunks a volume has at most.
  public static let mostBytes = 4 << 40
  public static let mostChunks = 1 << 18
  /// By how much a sealed chunk is longer than what it holds.
  public static let sealBytes = 48
  /// How long the text is at most.
  public static let mostText = 96 * mostChunks

  public init(
    sizeBytes: Int, chunkBytes: Int, reading: BackupReading, readBytes: Int = 0, chunks: [Int: Chunk] = [:],
    sealing: VolumeID? = nil
  ) {
    self.sizeBytes = sizeBytes
    self.chunkBytes = chunkBytes
    self.reading = reading
    self.readBytes = readBytes
    self.chunks = chunks
    self.sealing = sealing
  }

  /// How large chunks of a volume are: 1 MiB, more where there would be too many.
  public static func chunkBytes(of sizeBytes: Int) -> Int {
    var bytes = 1 << 20
    while bytes < 16 << 20, sizeBytes > bytes * mostChunks { bytes *= 2 }
    return bytes
  }

  /// How many chunks the volume has, zeros too.
  public var count: Int { (sizeBytes + chunkBytes - 1) / chunkBytes }

  /// How many bytes of the volume a chunk is.
  public func bytes(at index: Int) -> Int { min(chunkBytes, sizeBytes - index * chunkBytes) }

  /// How many bytes are kept of it.
  public func storedBytes(at index: Int) -> Int { bytes(at: index) + (sealing == nil ? 0 : Self.sealBytes) }

  /// Which chunks it names, however often.
  public var named: Set<Chunk> { Set(chunks.values) }

  private static let heading = "aloft-backup 1"
  /// Who does not know of sealed chunks must not take them for what the volume held.
  private static let sealedHeading = "aloft-backup 2"

  public var text: [UInt8] {
    let owners = Set(chunks.values.map(\.owner)).sorted { $0.description < $1.description }
    let numbers = Dictionary(uniqueKeysWithValues: owners.enumerated().map { ($1, $0) })
    let head = sealing.map { "\(Self.sealedHeading)\nsealed \($0)" } ?? Self.heading
    var lines =
      "\(head)\nsize \(sizeBytes)\nchunk \(chunkBytes)\nreading \(reading.rawValue)\nread \(readBytes)\n"
    for owner in owners { lines += "owner \(owner)\n" }
    var text = Array(lines.utf8)
    text.reserveCapacity(text.count + 80 * chunks.count)
    for index in chunks.keys.sorted() {
      guard let chunk = chunks[index] else { continue }
      text += Array("\(index) \(numbers[chunk.owner] ?? 0) \(chunk.hash)\n".utf8)
    }
    return text
  }

  /// Nil unless it is whole and makes sense.
  public init?(text: [UInt8]) {
    guard text.last == UInt8(ascii: "\n"), text.count <= Self.mostText else { return nil }
    var lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()[...]
    guard let first = lines.popFirst() else { return nil }
    let isSealed = first.elementsEqual(Self.sealedHeading.utf8)
    guard isSealed || first.elementsEqual(Self.heading.utf8) else { return nil }
    func value(_ name: String) -> String? {
      guard let line = lines.popFirst() else { return nil }
      let text = String(decoding: line, as: UTF8.self)
      return text.hasPrefix(name + " ") ? String(text.dropFirst(name.utf8.count + 1)) : nil
    }
    let sealing = isSealed ? value("sealed").flatMap { VolumeID($0) } : nil
    guard isSealed == (sealing != nil) else { return nil }
    guard let size = value("size").flatMap({ Int($0) }), (1...Self.mostBytes).contains(size),
      let chunk = value("chunk").flatMap({ Int($0) }), (1 << 12...1 << 24).contains(chunk),
      let reading = value("reading").flatMap(BackupReading.init(rawValue:)),
      let read = value("read").flatMap({ Int($0) }), (0...Self.mostBytes).contains(read)
    else { return nil }
    self.init(sizeBytes: size, chunkBytes: chunk, reading: reading, readBytes: read, sealing: sealing)
    guard count <= Self.mostChunks else { return nil }
    var owners: [BackupID] = []
    while let line = lines.first, line.starts(with: "owner ".utf8) {
      guard let owner = BackupID(String(decoding: line.dropFirst(6), as: UTF8.self)) else { return nil }
      owners.append(owner)
      lines = lines.dropFirst()
    }
    var last = -1
    for line in lines {
      let parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
      guard parts.count == 3, let index = Self.number(parts[0]), let owner = Self.number(parts[1]),
        let hash = ChunkHash(hexadecimal: parts[2]), index > last, index < count, owner < owners.count
      else { return nil }
      chunks[index] = Chunk(owner: owners[owner], hash: hash)
      last = index
    }
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
    guard (1...9).contains(digits.count) else { return nil }
    var number = 0
    for digit in digits {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
      number = number * 10 + Int(digit - UInt8(ascii: "0"))
    }
    return number
  }
}

/// Chunks by their SHA-256, in hexadecimal.
public struct ChunkList: Sendable, Codable, Equatable {
  public var chunks: [String]

  /// How many there are in one call at most.
  public static let most = 256

  public init(chunks: [String]) { self.chunks = chunks }
}
