import HTTPTypes
import JSON

/// A request that keeps the contract.
public struct ValidatedRequest: Sendable {
  /// What was asked for.
  public let operation: Operation
  /// The parameters that were given or have a default, by name as in the document.
  public let parameters: Parameters
  /// The body, when it is JSON.
  public internal(set) var body: JSONValue?
  /// The body as it came.
  public internal(set) var bodyBytes: [UInt8] = []
  /// The body's media type without parameters, in lower case.
  public internal(set) var mediaType: String?

  /// Parameters of path, query and headers together; the contract refuses two of one name.
  public struct Parameters: Sendable {
    var values: [String: JSONValue] = [:]

    /// The value of a parameter, nil when it was not given and has no default.
    public subscript(_ name: String) -> JSONValue? { values[name] }

    /// The value when it is a string.
    public func string(_ name: String) -> String? { values[name]?.stringValue }
    /// The value when it is a whole number.
    public func int(_ name: String) -> Int? { values[name]?.intValue }
    /// The value when it is a number.
    public func double(_ name: String) -> Double? { values[name]?.doubleValue }
    /// The value when it is a boolean.
    public func bool(_ name: String) -> Bool? { values[name]?.boolValue }
    /// The items of an array of strings; empty when it was not given.
    public func strings(_ name: String) -> [String] { values[name]?.arrayValue?.compactMap(\.stringValue) ?? [] }
    /// The names of all parameters that have a value, sorted.
    public var names: [String] { values.keys.sorted() }
  }
}

extension Contract {
  /// Checks everything of a request but its body: parameters, unknown query parameters, media type. For operations whose
  /// body is a stream, this is the whole check.
  ///
  /// - Parameters:
  ///   - query: what stands after `?` in the target, still encoded.
  public func validateHead(
    _ match: OperationMatch, query: String?, headers: HTTPFields
  ) throws(RequestRefusal) -> ValidatedRequest {
    var reader = ParameterReader(table: table)
    let request = head(match, query, headers, &reader)
    if !reader.violations.isEmpty { throw RequestRefusal(reader.violations) }
    return request
  }

  /// The first value that a request gives a parameter of path or query, unchecked; nil when it gives none that can be read.
  /// For what has to be known before a request is checked.
  public func firstValue(of name: String, _ match: OperationMatch, query: String?) -> String? {
    if let value = match.pathParameters[name] { return value }
    for part in (query ?? "").split(separator: "&") {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard pair.count == 2, PercentCoding.decode(pair[0], plusIsSpace: true) == name else { continue }
      return PercentCoding.decode(pair[1], plusIsSpace: true)
    }
    return nil
  }

  /// Checks a whole request. Everything that is wrong is reported together, up to `Violation.limit`.
  public func validate(
    _ match: OperationMatch, query: String?, headers: HTTPFields, body: [UInt8]
  ) throws(RequestRefusal) -> ValidatedRequest {
    var reader = ParameterReader(table: table)
    var request = head(match, query, headers, &reader)
    var violations = reader.violations
    let mediaTypeIsWrong = violations.contains { $0.kind == .unsupportedMediaType }
    if !mediaTypeIsWrong { violations += validateBody(body, &request) }
    if !violations.isEmpty { throw RequestRefusal(violations) }
    return request
  }

  private func head(
    _ match: OperationMatch, _ query: String?, _ headers: HTTPFields, _ reader: inout ParameterReader
  ) -> ValidatedRequest {
    let operation = match.operation
    let pairs = reader.readQuery(query ?? "", operation)
    for parameter in operation.parameters {
      switch parameter.location {
      case .path: reader.read(parameter, match.pathParameters[parameter.name].map { [$0] } ?? [], isEncoded: false)
      case .query: reader.read(parameter, pairs.filter { $0.name == parameter.name }.map(\.value), isEncoded: true)
      case .header: reader.read(parameter, parameter.headerName.map { headers[values: $0] } ?? [], isEncoded: false)
      }
    }
    var request = ValidatedRequest(
      operation: operation, parameters: ValidatedRequest.Parameters(values: reader.values))
    if let contentType = headers[.contentType] { mediaType(contentType, operation, &request, &reader) }
    return request
  }

  private func mediaType(
    _ contentType: String, _ operation: Operation, _ request: inout ValidatedRequest, _ reader: inout ParameterReader
  ) {
    // A body where none is taken is refused by its length, not by its type.
    guard let accepted = operation.requestBody?.content else { return }
    let wanted = accepted.map(\.range).joined(separator: " or ")
    guard let parsed = MediaType.parse(contentType), accepted.contains(where: { $0.accepts(parsed.essence) }) else {
      reader.add(.unsupportedMediaType, .header("Content-Type"), "must be \(wanted)")
      return
    }
    if MediaType.isJSON(parsed.essence), let charset = parsed.charset, charset != "utf-8" {
      reader.add(.unsupportedMediaType, .header("Content-Type"), "must have no charset, or utf-8: JSON is UTF-8")
      return
    }
    request.mediaType = parsed.essence
  }

  private func validateBody(_ bytes: [UInt8], _ request: inout ValidatedRequest) -> [Violation] {
    request.bodyBytes = bytes
    guard let expected = request.operation.requestBody else {
      return bytes.isEmpty
        ? [] : [Violation(.unexpectedBody, .body([]), "must be absent; this operation takes no body")]
    }
    let accepted = expected.content.map(\.range).joined(separator: " or ")
    if bytes.isEmpty {
      return expected.required
        ? [Violation(.missing, .body([]), "is required, as \(accepted)")] : []
    }
    guard let essence = request.mediaType,
      let media = expected.content.first(where: { $0.range == essence })
        ?? expected.content.first(where: { $0.accepts(essence) })
    else {
      return [Violation(.unsupportedMediaType, .header("Content-Type"), "is missing; it must be \(accepted)")]
    }
    guard MediaType.isJSON(essence) else { return [] }
    do throws(JSONParseError) {
      let value = try JSONValue.parse(bytes)
      request.body = value
      guard let schema = media.schema else { return [] }
      return SchemaValidator.violations(of: value, against: schema, in: table, .request, at: .body([]))
    } catch {
      return [Violation(.malformed, .body([]), "must be JSON: \(error)")]
    }
  }
}
