import HTTPTypes

extension HTTPField.Name {
  static let rateLimitLimit = literal("RateLimit-Limit")
  static let rateLimitRemaining = literal("RateLimit-Remaining")
  static let rateLimitReset = literal("RateLimit-Reset")
  static let csrfToken = literal("X-CSRF-Token")
  static let secFetchSite = literal("Sec-Fetch-Site")
  static let uploadOffset = literal("Upload-Offset")
  static let uploadComplete = literal("Upload-Complete")
  static let uploadLimit = literal("Upload-Limit")
  static let reprDigest = literal("Repr-Digest")
  static let requestID = literal("X-Request-Id")

  /// Names without a constant in swift-http-types, made once.
  private static func literal(_ name: String) -> HTTPField.Name { HTTPField.Name(name) ?? .date }
}

extension HTTPFields {
  /// Reads and writes a header that swift-http-types has no constant for.
  subscript(header name: String) -> String? {
    get { HTTPField.Name(name).flatMap { self[$0] } }
    set {
      // A name that is no token cannot be sent; ours are literals.
      if let name = HTTPField.Name(name) { self[name] = newValue }
    }
  }
}
