/// Where the parts of a request head lie in the bytes it was read from, and what it says about its body.
package struct HeadLayout: Equatable, Sendable {
  /// A header field: where its name and value are.
  package struct Field: Equatable, Sendable {
    package var name: Range<Int>
    package var value: Range<Int>
    /// Its index in `KnownField.all`.
    var known: Int?
  }

  /// How the end of the body is found (RFC 9112, 6).
  package enum Framing: Equatable, Sendable {
    case none
    case length(Int64)
    case chunked
  }

  package var method: Range<Int> = 0..<0
  package var path: Range<Int> = 0..<0
  package var query: Range<Int>?
  /// The authority of an absolute-form target; it replaces Host.
  package var authority: Range<Int>?
  package var isHTTP10 = false
  package var fields: [Field] = []
  package var framing = Framing.none
  package var host: Range<Int>?
  package var saysClose = false
  package var saysKeepAlive = false
  package var saysUpgrade = false
  package var upgradesToWebSocket = false
  package var expectsContinue = false
  /// The bytes of the head, the empty line at its end included.
  package var length = 0

  /// Whether the client wants another request on this connection (RFC 9112, 9.3).
  package var keepAlive: Bool { !saysClose && (!isHTTP10 || saysKeepAlive) }
}

/// What a request head may weigh.
package struct HeadLimits: Equatable, Sendable {
  /// Bytes of the request line.
  package var requestLine: Int
  /// Bytes of the header section.
  package var fields: Int
  /// Number of header fields.
  package var fieldCount: Int

  package init(requestLine: Int = 8 << 10, fields: Int = 32 << 10, fieldCount: Int = 100) {
    self.requestLine = requestLine
    self.fields = fields
    self.fieldCount = fieldCount
  }
}
