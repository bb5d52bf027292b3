import HTTPTypes
import JSON

extension Contract {
  /// What in a response breaks the contract; for tests, and for a server that checks itself while it is developed.
  ///
  /// Streams (`text/event-stream`, and every body that is not JSON) are checked for status, headers and media type only.
  /// - Parameters:
  ///   - contentType: the `Content-Type` header, nil when there is none.
  ///   - isHead: the answer to a `HEAD`, which has no body.
  public func validate(
    response status: Int, headers: HTTPFields, contentType: String?, body: [UInt8], for operation: Operation,
    isHead: Bool = false
  ) -> [Violation] {
    guard let response = operation.response(for: status) else {
      return [Violation(.undocumentedStatus, .status, "\(status) is not documented for \(operation.id)")]
    }
    var violations: [Violation] = []
    for header in response.headers { violations += check(header, headers) }
    if isHead || status == 204 || status == 304 || status < 200 {
      if !body.isEmpty { violations.append(Violation(.unexpectedBody, .body([]), "must be absent")) }
      return violations
    }
    violations += check(body, contentType, response)
    return Array(violations.prefix(Violation.limit))
  }

  private func check(_ header: ResponseHeader, _ headers: HTTPFields) -> [Violation] {
    let location = Violation.Location.header(header.name.rawName)
    guard let text = headers[header.name] else {
      return header.required ? [Violation(.missing, location, "is required")] : []
    }
    let types: JSONTypes
    switch header.shape {
    case .scalar(let scalar): types = scalar
    case .array: return []
    }
    guard let value = ParameterShape.scalar(text, types) else {
      return [Violation(.wrongType, location, "must be \(types.phrase)")]
    }
    return SchemaValidator.violations(of: value, against: header.schema, in: table, .response, at: location)
  }

  private func check(_ body: [UInt8], _ contentType: String?, _ response: Response) -> [Violation] {
    let documented = response.content.map(\.range).joined(separator: " or ")
    if response.content.isEmpty {
      return body.isEmpty ? [] : [Violation(.unexpectedBody, .body([]), "must be absent")]
    }
    guard let contentType, let parsed = MediaType.parse(contentType) else {
      return [Violation(.unsupportedMediaType, .header("Content-Type"), "is missing; it must be \(documented)")]
    }
    let media =
      response.content.first { $0.range == parsed.essence }
      ?? response.content.first { $0.accepts(parsed.essence) }
    guard let media else {
      return [Violation(.unsupportedMediaType, .header("Content-Type"), "must be \(documented), not \(parsed.essence)")]
    }
    guard MediaType.isJSON(parsed.essence) else { return [] }
    do throws(JSONParseError) {
      let value = try JSONValue.parse(body)
      guard let schema = media.schema else { return [] }
      return SchemaValidator.violations(of: value, against: schema, in: table, .response, at: .body([]))
    } catch {
      return [Violation(.malformed, .body([]), "must be JSON: \(error)")]
    }
  }
}
