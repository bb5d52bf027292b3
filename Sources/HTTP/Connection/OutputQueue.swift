/// Bytes on their way to the client, in order. Small pieces are gathered into one array; large ones are kept as they
/// are, so that a big body is not copied.
struct OutputQueue {
  private static let copyLimit = 16 << 10
  private static let compactionThreshold = 64 << 10

  private var segments: [[UInt8]] = []
  private var head = 0
  private var offset = 0
  /// The last segment, which still grows. Everything before it is in `segments`.
  private var tail: [UInt8] = []
  private var tailOffset = 0
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }
  /// Whether the growing segment has memory of its own.
  var needsBuffer: Bool { tail.capacity == 0 }

  mutating func lend(_ buffer: [UInt8]) { tail = buffer }

  /// Takes the memory of the growing segment back. Only when empty.
  mutating func reclaim() -> [UInt8] {
    let buffer = tail
    tail = []
    tailOffset = 0
    return buffer
  }

  /// Appends what `write` appends to the array it is given.
  mutating func append(_ write: (inout [UInt8]) -> Void) {
    let before = tail.count
    write(&tail)
    count += tail.count - before
  }

  mutating func append(_ bytes: [UInt8]) {
    if bytes.count <= Self.copyLimit {
      tail += bytes
    } else {
      sealTail()
      segments.append(bytes)
    }
    count += bytes.count
  }

  private mutating func sealTail() {
    guard !tail.isEmpty else { return }
    if segments.isEmpty {
      head = 0
      offset = tailOffset
    }
    segments.append(tail)
    tail = []
    tailOffset = 0
  }

  /// Calls `body` with the next bytes: two pieces, of which the second may be empty.
  func withNext<Result>(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result) -> Result {
    let empty = UnsafeRawBufferPointer(start: nil, count: 0)
    guard head < segments.count else {
      return tail.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[tailOffset...]), empty) }
    }
    return segments[head].withUnsafeBytes { first in
      let first = UnsafeRawBufferPointer(rebasing: first[offset...])
      if head + 1 < segments.count { return segments[head + 1].withUnsafeBytes { body(first, $0) } }
      return tail.withUnsafeBytes { body(first, $0) }
    }
  }

  /// Drops `sent` bytes from the front.
  mutating func consume(_ sent: Int) {
    var left = sent
    count -= sent
    while left > 0, head < segments.count {
      let available = segments[head].count - offset
      if left < available {
        offset += left
        return
      }
      left -= available
      segments[head] = []
      head += 1
      offset = 0
    }
    if head == segments.count, head > 0 {
      segments.removeAll(keepingCapacity: true)
      head = 0
    }
    tailOffset += left
    if tailOffset == tail.count {
      tail.removeAll(keepingCapacity: true)
      tailOffset = 0
    } else if tailOffset >= Self.compactionThreshold {
      // A reader that is always a little behind would let the sent part grow without end.
      tail.removeFirst(tailOffset)
      tailOffset = 0
    }
  }

  mutating func removeAll() { self = OutputQueue() }
}
