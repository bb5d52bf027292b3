import HTTPTypes

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
