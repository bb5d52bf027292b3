import JSON

extension JSONValue {
  /// Where a place of a bundled document leads when its references are followed. The bundler has refused circles; the
  /// bound only keeps this function total.
  func following(_ pointer: JSONPointer) -> JSONPointer {
    var pointer = pointer
    for _ in 0..<32 {
      guard let ref = self[pointer]?["$ref"]?.stringValue, let next = JSONPointer(parsing: ref.dropFirst()) else {
        break
      }
      pointer = next
    }
    return pointer
  }
}

extension Substring {
  /// Without the blanks and tabs around it, which header syntax allows.
  var trimmed: Substring {
    var result = drop { $0 == " " || $0 == "\t" }
    while result.last == " " || result.last == "\t" { result.removeLast() }
    return result
  }
}
