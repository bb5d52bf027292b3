import HTTPTypes

/// Field names that are common in requests, so that reading one neither allocates nor validates its name again.
struct KnownField: Sendable {
  /// What the server itself does with the field.
  enum Role: Sendable { case none, host, contentLength, transferEncoding, connection, expect, upgrade }

  let lowercase: [UInt8]
  /// Nil for Host, which travels as the authority of the request and not among its fields.
  let name: HTTPField.Name?
  let role: Role

  private init(_ name: HTTPField.Name, _ role: Role = .none) {
    lowercase = Array(name.canonicalName.utf8)
    self.name = name
    self.role = role
  }

  private init(host: StaticString) {
    lowercase = Array(host.description.utf8)
    name = nil
    role = .host
  }

  /// All known fields; a parsed field refers to one by its index.
  static let all: [KnownField] = [
    KnownField(host: "host"), KnownField(.contentLength, .contentLength),
    KnownField(.transferEncoding, .transferEncoding), KnownField(.connection, .connection),
    KnownField(.expect, .expect), KnownField(.upgrade, .upgrade), KnownField(.accept), KnownField(.acceptEncoding),
    KnownField(.acceptLanguage), KnownField(.authorization), KnownField(.cacheControl), KnownField(.contentType),
    KnownField(.cookie), KnownField(.ifMatch), KnownField(.ifModifiedSince), KnownField(.ifNoneMatch),
    KnownField(.origin), KnownField(.range), KnownField(.referer), KnownField(.secWebSocketExtensions),
    KnownField(.secWebSocketKey), KnownField(.secWebSocketProtocol), KnownField(.secWebSocketVersion),
    KnownField(.te), KnownField(.traceparent), KnownField(.tracestate), KnownField(.trailer), KnownField(.userAgent),
    KnownField(.via),
  ]

  /// Indices into `all` by the length of the name.
  private static let byLength: [[Int]] = {
    var table = [[Int]](repeating: [], count: 32)
    for (index, field) in all.enumerated() where field.lowercase.count < table.count {
      table[field.lowercase.count].append(index)
    }
    return table
  }()

  /// The index in `all` of the name at `range`, if it is a known one.
  static func index(of input: Span<UInt8>, in range: Range<Int>) -> Int? {
    guard range.count < byLength.count else { return nil }
    candidates: for index in byLength[range.count] {
      let lowercase = all[index].lowercase
      for offset in 0..<lowercase.count where input[range.lowerBound + offset].lowercased != lowercase[offset] {
        continue candidates
      }
      return index
    }
    return nil
  }
}
