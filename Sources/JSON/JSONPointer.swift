/// A JSON Pointer (RFC 6901): where in a document a value is.
public struct JSONPointer: Hashable, Sendable, CustomStringConvertible {
  /// The unescaped reference tokens from the root.
  public var tokens: [String]

  public init(_ tokens: [String] = []) { self.tokens = tokens }

  /// Parses the string form: empty, or tokens each led by `/`, with `~1` for `/` and `~0` for `~`. Nil when malformed.
  public init?(parsing text: some StringProtocol) {
    if text.isEmpty {
      self.init()
      return
    }
    guard text.utf8.first == UInt8(ascii: "/") else { return nil }
    var tokens: [String] = []
    for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
      guard let token = Self.unescape(part) else { return nil }
      tokens.append(token)
    }
    self.init(tokens)
  }

  private static func unescape(_ part: some StringProtocol) -> String? {
    guard part.utf8.contains(UInt8(ascii: "~")) else { return String(part) }
    var result = ""
    var scalars = part.unicodeScalars.makeIterator()
    while let scalar = scalars.next() {
      guard scalar == "~" else {
        result.unicodeScalars.append(scalar)
        continue
      }
      switch scalars.next() {
      case "0": result += "~"
      case "1": result += "/"
      default: return nil
      }
    }
    return result
  }

  /// The string form, tokens escaped.
  public var description: String {
    var result = ""
    for token in tokens {
      result += "/"
      for scalar in token.unicodeScalars {
        switch scalar {
        case "~": result += "~0"
        case "/": result += "~1"
        default: result.unicodeScalars.append(scalar)
        }
      }
    }
    return result
  }

  /// The pointer to a member of what this one leads to.
  public func appending(_ token: String) -> JSONPointer { JSONPointer(tokens + [token]) }
  /// The pointer to an element of what this one leads to.
  public func appending(_ index: Int) -> JSONPointer { appending(String(index)) }
}

extension JSONPointer: ExpressibleByArrayLiteral {
  public init(arrayLiteral tokens: String...) { self.init(tokens) }
}

extension JSONValue {
  /// The value that the pointer leads to, or nil when there is none.
  public subscript(_ pointer: JSONPointer) -> JSONValue? {
    var value = self
    for token in pointer.tokens {
      switch value {
      case .object(let object):
        guard let next = object[token] else { return nil }
        value = next
      case .array(let elements):
        // RFC 6901 section 4: an index has no leading zeros and no sign.
        guard let index = Int(token), String(index) == token, elements.indices.contains(index) else { return nil }
        value = elements[index]
      default: return nil
      }
    }
    return value
  }
}
