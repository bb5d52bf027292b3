import HTTPTypes
import JSON

/// One operation of the contract: a method on a path.
public final class Operation: Sendable {
  /// `operationId`: the name by which a handler is bound.
  public let id: String
  /// The method that calls it.
  public let method: HTTPRequest.Method
  /// The path as in the document, `/v1/vms/{vm}`.
  public let path: String
  /// One line for people; may be empty.
  public let summary: String
  /// More for people, in Markdown; may be empty.
  public let description: String
  /// Groups that the operation belongs to.
  public let tags: [String]
  /// Parameters of path, query and headers, those of the path item included.
  public let parameters: [Parameter]
  /// The body that it takes; nil when it takes none.
  public let requestBody: RequestBody?
  /// Every documented response.
  public let responses: [Response]
  /// The alternatives of which one must be met; empty means that anyone may call.
  public let security: [SecurityRequirement]
  /// Vendor extensions (`x-…`) of the operation; those of the path where the operation has none of that name.
  public let extensions: [String: JSONValue]
  /// Whether callers should move away from it.
  public let deprecated: Bool
  /// Where the operation is in the bundled document.
  public let pointer: JSONPointer

  /// Names of the query parameters, for finding unknown ones.
  let queryNames: [String]

  init(
    id: String, method: HTTPRequest.Method, path: String, summary: String, description: String, tags: [String],
    parameters: [Parameter], requestBody: RequestBody?, responses: [Response], security: [SecurityRequirement],
    extensions: [String: JSONValue], deprecated: Bool, pointer: JSONPointer
  ) {
    self.id = id
    self.method = method
    self.path = path
    self.summary = summary
    self.description = description
    self.tags = tags
    self.parameters = parameters
    self.requestBody = requestBody
    self.responses = responses
    self.security = security
    self.extensions = extensions
    self.deprecated = deprecated
    self.pointer = pointer
    queryNames = parameters.filter { $0.location == .query }.map(\.name)
  }

  /// The documented response for a status: exact, then by class (`4XX`), then `default`.
  public func response(for status: Int) -> Response? {
    responses.first { $0.status == .exactly(status) }
      ?? responses.first { $0.status == .hundreds(status / 100) }
      ?? responses.first { $0.status == .others }
  }
}

/// Scheme names with the scopes that each must grant; all of them must be met.
public struct SecurityRequirement: Equatable, Sendable {
  /// Scopes by the name of the security scheme.
  public let schemes: [String: [String]]
}

/// A parameter of an operation.
public struct Parameter: Sendable {
  /// Where a parameter is given.
  public enum Location: String, Sendable { case path, query, header }

  /// The name as in the document; header names are compared without case.
  public let name: String
  /// Where it is given.
  public let location: Location
  /// Whether its absence is a violation.
  public let required: Bool
  /// What it is for; may be empty.
  public let description: String
  /// What the parameter is when it is absent.
  public let defaultValue: JSONValue?
  /// Where the parameter is in the bundled document.
  public let pointer: JSONPointer

  let schema: SchemaID
  let shape: ParameterShape
  /// Whether each item of an array is a parameter of its own (`a=1&a=2`), or all are one (`a=1,2`).
  let explode: Bool
  let headerName: HTTPField.Name?

  var violationLocation: Violation.Location {
    switch location {
    case .path: .path(name)
    case .query: .query(name)
    case .header: .header(name)
    }
  }
}

/// A body that an operation takes.
public struct RequestBody: Sendable {
  /// Whether its absence is a violation.
  public let required: Bool
  /// The representations, in the order of the document.
  public let content: [MediaType]
}

/// A response that an operation documents.
public struct Response: Sendable {
  /// Which statuses a response is for: one (`200`), a class (`4XX`), or all others (`default`).
  public enum Status: Hashable, Sendable {
    case exactly(Int)
    case hundreds(Int)
    case others
  }

  /// The statuses it is for.
  public let status: Status
  /// What it means.
  public let description: String
  /// The documented headers.
  public let headers: [ResponseHeader]
  public let content: [MediaType]
}

/// A header of a response.
public struct ResponseHeader: Sendable {
  /// The header's name.
  public let name: HTTPField.Name
  /// Whether its absence is a violation.
  public let required: Bool
  let schema: SchemaID
  let shape: ParameterShape
}

/// One representation of a body.
public struct MediaType: Sendable {
  /// `application/json`, `image/*` or `*/*`, in lower case.
  public let range: String
  let schema: SchemaID?

  /// Whether the body is one JSON text.
  public var isJSON: Bool { Self.isJSON(range) }

  static func isJSON(_ essence: String) -> Bool { essence == "application/json" || essence.hasSuffix("+json") }

  func accepts(_ essence: String) -> Bool {
    if range == essence || range == "*/*" { return true }
    return range.hasSuffix("/*") && essence.hasPrefix(range.dropLast())
  }

  /// Type and subtype of a `Content-Type` (RFC 9110 section 8.3) in lower case, and its parameters.
  static func parse(_ contentType: String) -> (essence: String, charset: String?)? {
    let parts = contentType.split(separator: ";", omittingEmptySubsequences: false).map(\.trimmed)
    guard let essence = parts.first?.lowercased() else { return nil }
    let names = essence.split(separator: "/", omittingEmptySubsequences: false)
    guard names.count == 2, names.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }) else {
      return nil
    }
    var charset: String?
    for part in parts.dropFirst() where part.lowercased().hasPrefix("charset=") {
      charset = part.dropFirst("charset=".count).lowercased().replacing("\"", with: "")
    }
    return (essence, charset)
  }
}
