import HTTPTypes
import JSON

/// What a router says about a method and a path.
public enum RouteResult: Sendable {
  case match(OperationMatch)
  /// The path exists, the method does not. `allow` belongs into the `Allow` header (RFC 9110 section 15.5.6).
  case methodNotAllowed(allow: [HTTPRequest.Method])
  case notFound
}

/// An operation and the values of its path's parameters, percent-decoded.
public struct OperationMatch: Sendable {
  /// What was asked for.
  public let operation: Operation
  /// Values of the path's parameters by name, percent-decoded, not yet validated.
  public let pathParameters: [String: String]

  public init(operation: Operation, pathParameters: [String: String]) {
    self.operation = operation
    self.pathParameters = pathParameters
  }
}

/// Finds the operation for a method and a path, by a tree of segments.
///
/// At each segment a fixed name wins over a parameter with a fixed suffix (`{vm}:start`), and that over a bare one.
/// A segment is percent-decoded before it is compared. What decodes to nothing, `.`, `..`, or to text with `/` or U+0000
/// in it names nothing.
public struct Router: Sendable {
  private struct Node: Sendable {
    var fixed: [String: Int] = [:]
    /// Longest suffix first; the bare parameter, if any, is last with an empty one.
    var parameters: [(suffix: String, child: Int)] = []
    var operations: [(method: HTTPRequest.Method, operation: Operation, names: [String])] = []
  }

  private var nodes = [Node()]

  /// Refuses two operations for one method and one shape of path.
  init(_ operations: [Operation], _ bundle: Bundle) throws(ContractError) {
    for operation in operations {
      var current = 0
      var names: [String] = []
      for segment in try PathTemplate.segments(of: operation.path, bundle, operation.pointer) {
        switch segment {
        case .fixed(let name):
          if let child = nodes[current].fixed[name] {
            current = child
          } else {
            nodes.append(Node())
            nodes[current].fixed[name] = nodes.count - 1
            current = nodes.count - 1
          }
        case .variable(let name, let suffix):
          names.append(name)
          if let child = nodes[current].parameters.first(where: { $0.suffix == suffix })?.child {
            current = child
          } else {
            nodes.append(Node())
            nodes[current].parameters.append((suffix, nodes.count - 1))
            nodes[current].parameters.sort { $0.suffix.utf8.count > $1.suffix.utf8.count }
            current = nodes.count - 1
          }
        }
      }
      if let other = nodes[current].operations.first(where: { $0.method == operation.method }) {
        throw bundle.failure(
          at: operation.pointer,
          "\(operation.method) \(operation.path) is the same route as that of \(other.operation.id)")
      }
      nodes[current].operations.append((operation.method, operation, names))
    }
  }

  /// Finds the operation. A query after `?` is ignored. `HEAD` is answered by `GET` where it has no operation of its own.
  public func match(_ method: HTTPRequest.Method, _ path: String) -> RouteResult {
    var segments: [String] = []
    let utf8 = path.utf8
    var index = utf8.startIndex
    guard index < utf8.endIndex, utf8[index] == UInt8(ascii: "/") else { return .notFound }
    while index < utf8.endIndex, utf8[index] != UInt8(ascii: "?") {
      let start = utf8.index(after: index)
      index = start
      while index < utf8.endIndex, utf8[index] != UInt8(ascii: "/"), utf8[index] != UInt8(ascii: "?") {
        utf8.formIndex(after: &index)
      }
      guard let segment = Self.segment(path[start..<index]) else { return .notFound }
      segments.append(segment)
      if segments.count > 64 { return .notFound }
    }
    // "/" is one empty segment: the root itself.
    if segments == [""] { segments = [] }
    var values: [String] = []
    guard let node = find(segments[...], from: 0, &values) else { return .notFound }
    let operations = nodes[node].operations
    let found =
      operations.first { $0.method == method }
      ?? (method == .head ? operations.first { $0.method == .get } : nil)
    guard let found else {
      var allow = operations.map(\.method)
      if allow.contains(.get), !allow.contains(.head) { allow.append(.head) }
      return .methodNotAllowed(allow: allow)
    }
    var parameters: [String: String] = [:]
    for (name, value) in zip(found.names, values) { parameters[name] = value }
    return .match(OperationMatch(operation: found.operation, pathParameters: parameters))
  }

  private func find(_ segments: ArraySlice<String>, from node: Int, _ values: inout [String]) -> Int? {
    guard let segment = segments.first else { return nodes[node].operations.isEmpty ? nil : node }
    let rest = segments.dropFirst()
    if let child = nodes[node].fixed[segment], let found = find(rest, from: child, &values) { return found }
    if segment.isEmpty { return nil }
    for (suffix, child) in nodes[node].parameters {
      guard segment.utf8.count > suffix.utf8.count, segment.hasSuffix(suffix) else { continue }
      values.append(String(segment.dropLast(suffix.count)))
      if let found = find(rest, from: child, &values) { return found }
      values.removeLast()
    }
    return nil
  }

  private static func segment(_ raw: Substring) -> String? {
    guard let decoded = PercentCoding.decode(raw) else { return nil }
    if decoded == "." || decoded == ".." { return nil }
    for byte in decoded.utf8 where byte == UInt8(ascii: "/") || byte == 0 { return nil }
    return decoded
  }
}

/// The segments of a path of the document.
enum PathTemplate {
  enum Segment {
    case fixed(String)
    case variable(name: String, suffix: String)

    var parameter: String? { if case .variable(let name, _) = self { name } else { nil } }
  }

  static func segments(
    of path: String, _ bundle: Bundle, _ pointer: JSONPointer
  ) throws(ContractError) -> [Segment] {
    var result: [Segment] = []
    if path == "/" { return [] }
    for part in path.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
      if !part.contains("{"), !part.contains("}"), !part.isEmpty {
        result.append(.fixed(String(part)))
        continue
      }
      guard part.hasPrefix("{"), let end = part.firstIndex(of: "}") else {
        throw bundle.failure(at: pointer, "a segment of a path is text, {name} or {name} with text behind it")
      }
      let name = String(part[part.index(after: part.startIndex)..<end])
      let suffix = String(part[part.index(after: end)...])
      let isUsed = result.contains { $0.parameter == name }
      guard !name.isEmpty, !suffix.contains("{"), !suffix.contains("}"), !isUsed else {
        throw bundle.failure(at: pointer, "the path parameter {\(name)} is malformed or used twice")
      }
      result.append(.variable(name: name, suffix: suffix))
    }
    return result
  }
}
