import JSON

/// Compiles the schemas of a bundled document. A keyword that it does not know is an error: a rule that is written but
/// not enforced is worse than none.
struct SchemaCompiler {
  let document: JSONValue
  let bundle: Bundle
  private(set) var table = SchemaTable()
  private var components: [String: SchemaID] = [:]

  /// Keywords that only tell people something.
  static let annotations: Set<String> = [
    "title", "description", "default", "example", "examples", "deprecated", "$comment", "discriminator", "externalDocs",
    "contentEncoding", "contentMediaType", "xml",
  ]

  init(_ bundle: Bundle) {
    document = bundle.document
    self.bundle = bundle
  }

  /// Compiles the schema at that place of the document.
  mutating func compile(at pointer: JSONPointer) throws(ContractError) -> SchemaID {
    guard let value = document[pointer] else { throw bundle.failure(at: pointer, "the schema is missing") }
    let id = reserve()
    table.schemas[id] = try schema(value, at: pointer)
    return id
  }

  private mutating func reserve() -> SchemaID {
    table.schemas.append(Schema())
    return table.schemas.count - 1
  }

  /// The component's schema. Its number is given before it is compiled, so that it may refer to itself.
  private mutating func component(_ ref: String, at pointer: JSONPointer) throws(ContractError) -> SchemaID {
    if let id = components[ref] { return id }
    guard let target = JSONPointer(parsing: ref.dropFirst()), let value = document[target] else {
      throw bundle.failure(at: pointer, "the reference \(ref) leads to nothing")
    }
    let id = reserve()
    components[ref] = id
    table.schemas[id] = try schema(value, at: target)
    return id
  }

  private mutating func schema(_ value: JSONValue, at pointer: JSONPointer) throws(ContractError) -> Schema {
    if case .bool(let everything) = value { return Schema(refusesAll: !everything) }
    guard case .object(let object) = value else {
      throw bundle.failure(at: pointer, "a schema must be a mapping, true or false")
    }
    var reader = KeywordReader(object, pointer, bundle)
    let types = try reader.types()
    var ref: SchemaID?
    if let text = try reader.string("$ref") { ref = try component(text, at: pointer) }
    var values = try reader.array("enum")
    if let const = reader.value("const") { values = [const] }
    let string = try reader.stringRules()
    let number = try reader.numberRules(types)
    let array = try arrayRules(&reader)
    let objectRules = try objectRules(&reader, value)
    let allOf = try list("allOf", &reader)
    let anyOf = try list("anyOf", &reader)
    let oneOf = try list("oneOf", &reader)
    let not = try child("not", &reader)
    // For readers of the contract: it is compiled so that it is sound, and the text itself is not looked into.
    _ = try child("contentSchema", &reader)
    _ = reader.value("readOnly")
    _ = reader.value("writeOnly")
    try reader.refuseUnknown(Self.annotations)
    return Schema(
      types: types, ref: ref, values: values, string: string, number: number, array: array, object: objectRules,
      allOf: allOf, anyOf: anyOf, oneOf: oneOf, not: not, readOnly: flag("readOnly", value),
      writeOnly: flag("writeOnly", value))
  }

  /// Whether a flag is set on a schema or on what it refers to.
  private func flag(_ name: String, _ value: JSONValue) -> Bool {
    var value = value
    for _ in 0..<16 {
      if value[name] == true { return true }
      guard let ref = value["$ref"]?.stringValue, let target = JSONPointer(parsing: ref.dropFirst()),
        let next = document[target]
      else { return false }
      value = next
    }
    return false
  }

  private mutating func child(_ name: String, _ reader: inout KeywordReader) throws(ContractError) -> SchemaID? {
    reader.value(name) == nil ? nil : try compile(at: reader.pointer.appending(name))
  }

  private mutating func list(_ name: String, _ reader: inout KeywordReader) throws(ContractError) -> [SchemaID] {
    guard let elements = try reader.array(name) else { return [] }
    if elements.isEmpty { throw bundle.failure(at: reader.pointer.appending(name), "must not be empty") }
    var ids: [SchemaID] = []
    for position in elements.indices {
      ids.append(try compile(at: reader.pointer.appending(name).appending(position)))
    }
    return ids
  }

  private mutating func arrayRules(_ reader: inout KeywordReader) throws(ContractError) -> ArrayRules? {
    var rules = ArrayRules()
    rules.items = try child("items", &reader)
    rules.prefixItems = try list("prefixItems", &reader)
    rules.minimumCount = try reader.count("minItems")
    rules.maximumCount = try reader.count("maxItems")
    rules.unique = try reader.bool("uniqueItems") ?? false
    let isEmpty =
      rules.items == nil && rules.prefixItems.isEmpty && rules.minimumCount == nil
      && rules.maximumCount == nil && !rules.unique
    return isEmpty ? nil : rules
  }

  private mutating func objectRules(
    _ reader: inout KeywordReader, _ schema: JSONValue
  ) throws(ContractError) -> ObjectRules? {
    var rules = ObjectRules()
    var isEmpty = true
    for (name, _) in try reader.object("properties") ?? JSONObject() {
      rules.properties[name] = try compile(at: reader.pointer.appending("properties").appending(name))
      rules.names.append(name)
      isEmpty = false
    }
    for (source, _) in try reader.object("patternProperties") ?? JSONObject() {
      let place = reader.pointer.appending("patternProperties").appending(source)
      rules.patterns.append((try reader.pattern(source, at: place), try compile(at: place)))
      isEmpty = false
    }
    for value in try reader.array("required") ?? [] {
      guard let name = value.stringValue else {
        throw bundle.failure(at: reader.pointer.appending("required"), "must be a list of names")
      }
      rules.required.append(name)
      isEmpty = false
    }
    rules.propertyNames = try child("propertyNames", &reader)
    rules.minimumCount = try reader.count("minProperties")
    rules.maximumCount = try reader.count("maxProperties")
    if rules.propertyNames != nil || rules.minimumCount != nil || rules.maximumCount != nil { isEmpty = false }
    for name in ["additionalProperties", "unevaluatedProperties"] {
      guard let value = reader.value(name) else { continue }
      if name == "unevaluatedProperties" {
        rules.evaluatedElsewhere = propertyNames(of: schema, depth: 0)
      }
      switch value {
      case true: rules.additional = .allowed
      case false: rules.additional = .refused
      default: rules.additional = .schema(try compile(at: reader.pointer.appending(name)))
      }
      isEmpty = false
    }
    return isEmpty ? nil : rules
  }

  /// The properties that a schema and its neighbours (`$ref`, `allOf`, `anyOf`, `oneOf`) name.
  private func propertyNames(of schema: JSONValue, depth: Int) -> Set<String> {
    guard depth < 16 else { return [] }
    var names = Set(schema["properties"]?.objectValue?.keys ?? [])
    if let ref = schema["$ref"]?.stringValue, let target = JSONPointer(parsing: ref.dropFirst()),
      let value = document[target]
    {
      names.formUnion(propertyNames(of: value, depth: depth + 1))
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
      for branch in schema[keyword]?.arrayValue ?? [] {
        names.formUnion(propertyNames(of: branch, depth: depth + 1))
      }
    }
    return names
  }

  /// Refuses schemas that apply to themselves in place, which no value could ever be checked against.
  func checkCycles() throws(ContractError) {
    var done = Set<SchemaID>()
    for start in table.schemas.indices where !done.contains(start) {
      var path: [(id: SchemaID, next: Int)] = [(start, 0)]
      var onPath: Set<SchemaID> = [start]
      while let top = path.last {
        let neighbours = table[top.id].inPlace
        guard top.next < neighbours.count else {
          done.insert(top.id)
          onPath.remove(top.id)
          path.removeLast()
          continue
        }
        path[path.count - 1].next += 1
        let neighbour = neighbours[top.next]
        if onPath.contains(neighbour) {
          let name = components.first { $0.value == neighbour || $0.value == top.id }?.key ?? "#"
          let pointer = JSONPointer(parsing: name.dropFirst()) ?? JSONPointer()
          throw bundle.failure(at: pointer, "the schema refers to itself without a property or item in between")
        }
        if !done.contains(neighbour) {
          onPath.insert(neighbour)
          path.append((neighbour, 0))
        }
      }
    }
  }
}
