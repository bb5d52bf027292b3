import JSON

extension Lint {
  /// Checks every schema of the document: properties are described, examples and defaults keep their own rules.
  mutating func checkSchemas() {
    var compiler = SchemaCompiler(bundle)
    for (section, members) in document["components"]?.objectValue ?? JSONObject() {
      for (name, value) in members.objectValue ?? JSONObject() {
        let pointer = JSONPointer(["components", section, name])
        if section == "schemas" {
          checkSchema(value, at: pointer, &compiler)
        } else {
          checkTree(value, at: pointer, &compiler)
        }
      }
    }
    if let paths = document["paths"] { checkTree(paths, at: ["paths"], &compiler) }
  }

  /// Finds the schemas, and the examples beside them, in what is no schema.
  private mutating func checkTree(_ value: JSONValue, at pointer: JSONPointer, _ compiler: inout SchemaCompiler) {
    switch value {
    case .array(let elements):
      for (position, element) in elements.enumerated() {
        checkTree(element, at: pointer.appending(position), &compiler)
      }
    case .object(let object):
      for (key, child) in object where key != "example" && key != "examples" && !key.hasPrefix("x-") {
        if key == "schema" {
          checkSchema(child, at: pointer.appending(key), &compiler)
          checkExamples(of: value, at: pointer, against: pointer.appending(key), &compiler)
        } else {
          checkTree(child, at: pointer.appending(key), &compiler)
        }
      }
    default: break
    }
  }

  private mutating func checkSchema(_ schema: JSONValue, at pointer: JSONPointer, _ compiler: inout SchemaCompiler) {
    for name in schema["properties"]?.objectValue?.keys ?? [] {
      let place = pointer.appending("properties").appending(name)
      if !isDescribed(place) { add(.description, at: place, "the property \(name) has no description", .warning) }
    }
    var samples: [(JSONPointer, JSONValue)] = []
    for keyword in ["example", "default"] {
      if let sample = schema[keyword] { samples.append((pointer.appending(keyword), sample)) }
    }
    for (position, sample) in (schema["examples"]?.arrayValue ?? []).enumerated() {
      samples.append((pointer.appending("examples").appending(position), sample))
    }
    for (place, sample) in samples { check(sample, at: place, against: pointer, &compiler) }
    for child in Self.subschemas(of: schema, at: pointer) {
      if let value = document[child] { checkSchema(value, at: child, &compiler) }
    }
  }

  /// Whether a schema, what it refers to, or the one part of it that is not `null` says what it is for.
  private func isDescribed(_ place: JSONPointer) -> Bool {
    if document[place]?["description"] != nil { return true }
    let target = document.following(place)
    if document[target]?["description"] != nil { return true }
    return ["anyOf", "oneOf", "allOf"].contains { keyword in
      (document[target]?[keyword]?.arrayValue ?? []).indices.contains { position in
        document[document.following(target.appending(keyword).appending(position))]?["description"] != nil
      }
    }
  }

  /// Examples of a parameter, header or media type.
  private mutating func checkExamples(
    of holder: JSONValue, at pointer: JSONPointer, against schema: JSONPointer, _ compiler: inout SchemaCompiler
  ) {
    if let example = holder["example"] {
      check(example, at: pointer.appending("example"), against: schema, &compiler)
    }
    for name in holder["examples"]?.objectValue?.keys ?? [] {
      let place = document.following(pointer.appending("examples").appending(name)).appending("value")
      if let example = document[place] { check(example, at: place, against: schema, &compiler) }
    }
  }

  private mutating func check(
    _ example: JSONValue, at place: JSONPointer, against schema: JSONPointer, _ compiler: inout SchemaCompiler
  ) {
    // Loading has compiled every schema already; one that cannot be compiled does not get here.
    guard let id = try? compiler.compile(at: schema) else { return }
    let found = SchemaValidator.violations(of: example, against: id, in: compiler.table, .example, at: .body([]))
    for violation in found {
      guard case .body(let inside) = violation.location else { continue }
      let target = JSONPointer(place.tokens + inside.tokens)
      add(.example, at: target, "breaks its schema: \(violation.message)")
    }
  }
}
