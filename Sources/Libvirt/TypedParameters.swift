import CLibvirt

/// libvirt's named values. Numbers of all kinds are widened to `UInt64`; a negative one counts as 0.
struct TypedParameters {
  private var numbers: [String: UInt64] = [:]
  private var strings: [String: String] = [:]

  init(_ parameters: UnsafeMutablePointer<virTypedParameter>?, count: Int) {
    for index in 0..<count {
      guard let parameter = parameters?.advanced(by: index) else { break }
      let name = withUnsafeBytes(of: parameter.pointee.field) { field in
        String(decoding: field.prefix { $0 != 0 }, as: UTF8.self)
      }
      if let string = aloft_parameter_string(parameter) {
        strings[name] = String(cString: string)
      } else {
        numbers[name] = aloft_parameter_unsigned(parameter)
      }
    }
  }

  subscript(_ name: String) -> UInt64? { numbers[name] }

  func string(_ name: String) -> String? { strings[name] }

  /// The entries of a list: `PREFIX.count` says how many, and each is read with `PREFIX.INDEX.`.
  func list<Element>(_ prefix: String, _ element: (_ prefix: String) -> Element) -> [Element] {
    (0..<(numbers["\(prefix).count"] ?? 0)).map { element("\(prefix).\($0).") }
  }
}
