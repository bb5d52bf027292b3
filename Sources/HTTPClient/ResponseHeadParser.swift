import HTTPTypes

/// Puts a response head together from the header lines libcurl hands over one by one (RFC 9112, section 4 and 5).
///
/// A new status line starts over: informational (1xx) heads and followed redirects come before the final one.
struct ResponseHeadParser {
  enum Progress { case more, complete, tooLarge, malformed }

  /// Bytes that all heads and trailers of one transfer may have together: a server can send informational ones for ever.
  static let limit = 256 << 10

  /// The last complete head that is not informational.
  private(set) var head: Transfer.Head?
  private var current = Transfer.Head(status: 0, headers: [:])
  private var size = 0

  mutating func feed(_ line: UnsafeRawBufferPointer) -> Progress {
    var content = line[...]
    while let last = content.last, last == 0x0A || last == 0x0D { content = content.dropLast() }
    size += line.count
    guard size <= Self.limit else { return .tooLarge }
    if content.starts(with: "HTTP/".utf8) {
      current = Transfer.Head(status: Self.status(of: content), headers: [:])
      return (100...599).contains(current.status) ? .more : .malformed
    }
    if content.isEmpty {
      if current.status < 200 { return .more }
      head = current
      return .complete
    }
    guard let colon = content.firstIndex(of: 0x3A) else { return .malformed }
    guard let name = HTTPField.Name(String(decoding: content[..<colon], as: UTF8.self)) else {
      return .malformed
    }
    let value = String(
      decoding: content[content.index(after: colon)...].trimmingSpaces(), as: UTF8.self)
    current.headers.append(HTTPField(name: name, value: value))
    return .more
  }

  /// Counts a line that nobody looks at. False: there were too many.
  mutating func passOver(_ line: UnsafeRawBufferPointer) -> Bool {
    size += line.count
    return size <= Self.limit
  }

  /// Whether libcurl will follow this head's redirect instead of handing over its body.
  func isFollowedRedirect(maxRedirects: Int) -> Bool {
    guard maxRedirects > 0, let head, head.headers[.location] != nil else { return false }
    return [301, 302, 303, 307, 308].contains(head.status)
  }

  private static func status(of line: Slice<UnsafeRawBufferPointer>) -> Int {
    let parts = line.split(separator: 0x20, maxSplits: 2)
    guard parts.count >= 2, parts[1].count == 3 else { return 0 }
    return Int(String(decoding: parts[1], as: UTF8.self)) ?? 0
  }
}

extension Slice<UnsafeRawBufferPointer> {
  fileprivate func trimmingSpaces() -> Self {
    var rest = self
    while let first = rest.first, first == 0x20 || first == 0x09 { rest = rest.dropFirst() }
    while let last = rest.last, last == 0x20 || last == 0x09 { rest = rest.dropLast() }
    return rest
  }
}
