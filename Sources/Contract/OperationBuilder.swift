import HTTPTypes
import JSON

/// Reads the operations of a bundled document.
struct OperationBuilder {
  static let methods: [(key: String, method: HTTPRequest.Method)] = [
    ("get", .get), ("put", .put), ("post", .post), ("delete", .delete), ("options", .options), ("head", .head),
    ("patch", .patch), ("trace", .trace),
  ]

  let bundle: Bundle
  private(set) var compiler: SchemaCompiler

  init(_ bundle: Bundle) {
    self.bundle = bundle
    compiler = SchemaCompiler(bundle)
  }

  mutating func operations() throws(ContractError) -> [Operation] {
    guard let version = bundle.document["openapi"]?.stringValue, version.hasPrefix("3.1") else {
      throw bundle.failure(at: ["openapi"], "must say a version of OpenAPI 3.1")
    }
    guard case .object(let paths) = bundle.document["paths"] else {
      throw bundle.failure(at: ["paths"], "the document must have paths")
    }
    var operations: [Operation] = []
    for (path, item) in paths {
      let pointer = JSONPointer(["paths", path])
      guard path.hasPrefix("/") else { throw bundle.failure(at: pointer, "a path must begin with \"/\"") }
      for (key, method) in Self.methods {
        guard let value = item[key] else { continue }
        operations.append(try operation(value, method, path, item, pointer.appending(key)))
      }
    }
    for section in bundle.document["components"]?["schemas"]?.objectValue?.keys ?? [] {
      // Also what no operation uses: a broken schema is found when it is written.
      _ = try compiler.compile(at: ["components", "schemas", section])
    }
    try compiler.checkCycles()
    return operations
  }

  private mutating func operation(
    _ value: JSONValue, _ method: HTTPRequest.Method, _ path: String, _ item: JSONValue, _ pointer: JSONPointer
  ) throws(ContractError) -> Operation {
    guard let id = value["operationId"]?.stringValue, !id.isEmpty else {
      throw bundle.failure(at: pointer, "the operation has no operationId, by which its handler is found")
    }
    var parameters: [Parameter] = []
    let places = [pointer.parent, pointer].map { $0.appending("parameters") }
    for place in places {
      for position in (bundle.document[place]?.arrayValue ?? []).indices {
        let parameter = try parameter(at: place.appending(position))
        // The operation's own parameter replaces the path's.
        parameters.removeAll {
          $0.name == parameter.name && $0.location == parameter.location && place == places[1]
            && $0.pointer.tokens.starts(with: places[0].tokens)
        }
        guard !parameters.contains(where: { $0.name == parameter.name }) else {
          throw bundle.failure(at: place.appending(position), "a second parameter is named \(parameter.name)")
        }
        parameters.append(parameter)
      }
    }
    try checkPathParameters(parameters, path, pointer)
    var extensions: [String: JSONValue] = [:]
    for source in [item, value] {
      for (key, extensionValue) in source.objectValue ?? JSONObject() where key.hasPrefix("x-") {
        extensions[key] = extensionValue
      }
    }
    return Operation(
      id: id, method: method, path: path, summary: value["summary"]?.stringValue ?? "",
      description: value["description"]?.stringValue ?? "",
      tags: value["tags"]?.arrayValue?.compactMap(\.stringValue) ?? [], parameters: parameters,
      requestBody: try requestBody(at: pointer.appending("requestBody")),
      responses: try responses(at: pointer.appending("responses")),
      security: try security(value["security"], at: pointer.appending("security")), extensions: extensions,
      deprecated: value["deprecated"] == true, pointer: pointer)
  }

  private func checkPathParameters(
    _ parameters: [Parameter], _ path: String, _ pointer: JSONPointer
  ) throws(ContractError) {
    let inPath = try PathTemplate.segments(of: path, bundle, pointer).compactMap(\.parameter)
    let declared = parameters.filter { $0.location == .path }.map(\.name)
    for name in inPath where !declared.contains(name) {
      throw bundle.failure(at: pointer, "the path has {\(name)}, but no path parameter \(name) is declared")
    }
    for name in declared where !inPath.contains(name) {
      throw bundle.failure(at: pointer, "the path parameter \(name) is declared, but the path has no {\(name)}")
    }
  }

  private mutating func parameter(at place: JSONPointer) throws(ContractError) -> Parameter {
    let pointer = bundle.document.following(place)
    guard case .object(let object) = bundle.document[pointer] else {
      throw bundle.failure(at: place, "a parameter must be a mapping")
    }
    guard let name = object["name"]?.stringValue,
      let location = object["in"]?.stringValue.flatMap(Parameter.Location.init(rawValue:))
    else { throw bundle.failure(at: pointer, "a parameter needs a name and to be in path, query or header") }
    let required = object["required"] == true
    if location == .path, !required { throw bundle.failure(at: pointer, "a path parameter must be required: true") }
    let style = object["style"]?.stringValue ?? (location == .query ? "form" : "simple")
    guard style == (location == .query ? "form" : "simple") else {
      throw bundle.failure(at: pointer.appending("style"), "the style \(style) is not supported")
    }
    let schemaPointer = pointer.appending("schema")
    let schema = try compiler.compile(at: schemaPointer)
    guard let shape = ParameterShape(schema, compiler.table) else {
      throw bundle.failure(at: schemaPointer, "a parameter cannot be an object")
    }
    var headerName: HTTPField.Name?
    if location == .header {
      headerName = HTTPField.Name(name)
      if headerName == nil { throw bundle.failure(at: pointer, "\(name) is not the name of a header") }
    }
    return Parameter(
      name: name, location: location, required: required, description: object["description"]?.stringValue ?? "",
      defaultValue: bundle.document[schemaPointer]?["default"]
        ?? bundle.document[bundle.document.following(schemaPointer)]?["default"], pointer: pointer, schema: schema,
      shape: shape, explode: object["explode"]?.boolValue ?? (style == "form"), headerName: headerName)
  }

  private mutating func requestBody(at place: JSONPointer) throws(ContractError) -> RequestBody? {
    let pointer = bundle.document.following(place)
    guard bundle.document[pointer] != nil else { return nil }
    let content = try content(at: pointer.appending("content"))
    if content.isEmpty { throw bundle.failure(at: pointer, "a request body needs content") }
    return RequestBody(required: bundle.document[pointer]?["required"] == true, content: content)
  }

  private mutating func content(at pointer: JSONPointer) throws(ContractError) -> [MediaType] {
    var result: [MediaType] = []
    for (range, value) in bundle.document[pointer]?.objectValue ?? JSONObject() {
      let place = pointer.appending(range)
      guard let parsed = MediaType.parse(range) else {
        throw bundle.failure(at: place, "\(range) is not a media type")
      }
      let schema = value["schema"] == nil ? nil : try compiler.compile(at: place.appending("schema"))
      result.append(MediaType(range: parsed.essence, schema: schema))
    }
    return result
  }

  private mutating func responses(at pointer: JSONPointer) throws(ContractError) -> [Response] {
    guard case .object(let object) = bundle.document[pointer], !object.isEmpty else {
      throw bundle.failure(at: pointer.parent, "the operation documents no responses")
    }
    var result: [Response] = []
    for key in object.keys {
      let place = pointer.appending(key)
      guard let status = Response.Status(key) else {
        throw bundle.failure(at: place, "a response is for a status (200), a class (2XX) or default")
      }
      let target = bundle.document.following(place)
      guard let value = bundle.document[target] else {
        throw bundle.failure(at: place, "the response is missing")
      }
      var headers: [ResponseHeader] = []
      for name in value["headers"]?.objectValue?.keys ?? [] {
        headers.append(try header(name, at: target.appending("headers").appending(name)))
      }
      result.append(
        Response(
          status: status, description: value["description"]?.stringValue ?? "", headers: headers,
          content: try content(at: target.appending("content"))))
    }
    return result
  }

  private mutating func header(_ name: String, at place: JSONPointer) throws(ContractError) -> ResponseHeader {
    let pointer = bundle.document.following(place)
    guard let fieldName = HTTPField.Name(name) else {
      throw bundle.failure(at: place, "\(name) is not the name of a header")
    }
    let schema = try compiler.compile(at: pointer.appending("schema"))
    guard let shape = ParameterShape(schema, compiler.table) else {
      throw bundle.failure(at: pointer, "a header cannot be an object")
    }
    return ResponseHeader(
      name: fieldName, required: bundle.document[pointer]?["required"] == true, schema: schema, shape: shape)
  }

  private func security(
    _ own: JSONValue?, at pointer: JSONPointer
  ) throws(ContractError) -> [SecurityRequirement] {
    let known = bundle.document["components"]?["securitySchemes"]?.objectValue
    var result: [SecurityRequirement] = []
    for requirement in (own ?? bundle.document["security"])?.arrayValue ?? [] {
      var schemes: [String: [String]] = [:]
      for (name, scopes) in requirement.objectValue ?? JSONObject() {
        guard known?.contains(name) == true else {
          throw bundle.failure(at: pointer, "the security scheme \(name) is not among components/securitySchemes")
        }
        schemes[name] = scopes.arrayValue?.compactMap(\.stringValue) ?? []
      }
      result.append(SecurityRequirement(schemes: schemes))
    }
    return result
  }
}

extension Response.Status {
  init?(_ key: String) {
    if key == "default" {
      self = .others
    } else if key.utf8.count == 3, let status = Int(key), (100...599).contains(status) {
      self = .exactly(status)
    } else if key.utf8.count == 3, key.hasSuffix("XX"), let first = Int(key.prefix(1)), (1...5).contains(first) {
      self = .hundreds(first)
    } else {
      return nil
    }
  }
}

extension JSONPointer {
  var parent: JSONPointer { JSONPointer(tokens.dropLast()) }
}
