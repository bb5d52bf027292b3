import HTTPTypes

/// Turns the offsets of a parsed head into a ``Request``.
enum RequestBuilder {
  static func request(_ layout: HeadLayout, _ bytes: Span<UInt8>, peer: Peer, body: RequestBody) -> Request {
    bytes.withUnsafeBufferPointer { bytes in
      func text(_ range: Range<Int>) -> String {
        String(decoding: UnsafeBufferPointer(rebasing: bytes[range]), as: UTF8.self)
      }
      let path = layout.path.isEmpty ? "/" : text(layout.path)
      let query = layout.query.map(text)
      let target = query.map { "\(path)?\($0)" } ?? path
      let authority = (layout.authority ?? layout.host).map(text)
      var fields = HTTPFields()
      fields.reserveCapacity(layout.fields.count)
      for field in layout.fields {
        let name: HTTPField.Name?
        if let known = field.known {
          name = KnownField.all[known].name
        } else {
          name = HTTPField.Name(text(field.name))
        }
        // Nil for Host only: every other name was checked to be a token.
        guard let name else { continue }
        fields.append(HTTPField(name: name, value: UnsafeBufferPointer(rebasing: bytes[field.value])))
      }
      let head = HTTPRequest(
        method: method(text(layout.method)), scheme: peer.isTLS ? "https" : "http", authority: authority, path: target,
        headerFields: fields)
      return Request(head: head, path: path, query: query, peer: peer, body: body)
    }
  }

  private static func method(_ name: String) -> HTTPRequest.Method {
    // The parser let a token pass, so the name is always valid.
    HTTPRequest.Method(name) ?? .get
  }
}
