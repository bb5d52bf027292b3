import JSON

/// Makes one document of a root file and the files it refers to.
///
/// A `$ref` to a component (`…#/components/SECTION/NAME`) brings the component into the bundle under its own name; any
/// other `$ref` is replaced by what it leads to. Two components of one section and name in different files are an error.
struct Bundler {
  /// Reads a file, named relative to the root file's folder.
  typealias Reader = (String) throws(ContractError) -> String

  struct Place: Hashable {
    var file: String
    var pointer: JSONPointer

    func appending(_ token: String) -> Place { Place(file: file, pointer: pointer.appending(token)) }
  }

  struct ComponentID: Hashable {
    let section: String
    let name: String

    init?(_ pointer: JSONPointer) {
      guard pointer.tokens.count == 3, pointer.tokens[0] == "components" else { return nil }
      section = pointer.tokens[1]
      name = pointer.tokens[2]
    }

    var pointer: JSONPointer { JSONPointer(["components", section, name]) }
  }

  private let root: String
  private let read: Reader
  private var files: [String: JSONValue] = [:]
  private var registered: [ComponentID: Place] = [:]
  private var pending: [ComponentID] = []
  private var components: [ComponentID: JSONValue] = [:]
  private var inlining: [Place] = []
  private var origins: [(bundled: JSONPointer, source: Place)] = []

  static func bundle(root: String, read: @escaping Reader) throws(ContractError) -> Bundle {
    var bundler = Bundler(root: root, read: read)
    return try bundler.run()
  }

  private init(root: String, read: @escaping Reader) {
    self.root = root
    self.read = read
  }

  private mutating func run() throws(ContractError) -> Bundle {
    guard case .object(let document) = try file(root) else {
      throw ContractError(file: root, problem: "the document must be a mapping")
    }
    var bundled = JSONObject()
    for (key, value) in document where key != "components" {
      let step = Walk(source: Place(file: root, pointer: JSONPointer([key])), bundled: JSONPointer([key]))
      bundled[key] = try walk(value, step.reading(key, value))
    }
    try drain()
    let used = Set(registered.keys)
    // What nobody refers to is kept (and found by the lint): the bundle says all that the files say.
    var known = 0
    while known < files.count {
      known = files.count
      for name in files.keys.sorted() { try registerComponents(of: name) }
      try drain()
    }
    let sections = Dictionary(grouping: components.keys, by: \.section)
    var output = JSONObject()
    for section in sections.keys.sorted() {
      var members = JSONObject()
      for id in (sections[section] ?? []).sorted(by: { $0.name < $1.name }) { members[id.name] = components[id] }
      output[section] = .object(members)
    }
    if !output.isEmpty { bundled["components"] = .object(output) }
    let unused = registered.keys.filter { !used.contains($0) && $0.section != "securitySchemes" }.map(\.pointer)
    return Bundle(document: .object(bundled), root: root, origins: origins, unreferenced: unused)
  }

  // MARK: files

  private mutating func file(_ name: String) throws(ContractError) -> JSONValue {
    if let value = files[name] { return value }
    let value = try YAMLDocument.parse(try read(name), file: name)
    files[name] = value
    return value
  }

  /// Follows a reference, and further while it leads to nothing but another reference.
  private mutating func target(of ref: String, from source: Place) throws(ContractError) -> Place {
    var place = source
    var ref = ref
    for _ in 0..<32 {
      let next = try Self.place(of: ref, from: place, source)
      guard let value = try file(next.file)[next.pointer] else {
        throw failure(source, "the reference \(ref) leads to nothing in \(next.file)")
      }
      guard let object = value.objectValue, object.count == 1, case .string(let further) = object["$ref"] else {
        return next
      }
      place = next
      ref = further
    }
    throw failure(source, "the reference \(ref) leads in a circle")
  }

  private static func place(of ref: String, from place: Place, _ source: Place) throws(ContractError) -> Place {
    let parts = ref.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
    let path = parts.first.map(String.init) ?? ""
    guard !path.contains(":"), !path.hasPrefix("/") else {
      throw ContractError(
        file: source.file, pointer: source.pointer, problem: "the reference \(ref) must name a file beside this one")
    }
    let fragment = parts.count > 1 ? PercentCoding.decode(parts[1]) : ""
    guard let fragment, let pointer = JSONPointer(parsing: fragment) else {
      throw ContractError(
        file: source.file, pointer: source.pointer, problem: "the reference \(ref) must end in a JSON pointer (#/…)")
    }
    if path.isEmpty { return Place(file: place.file, pointer: pointer) }
    var folders = place.file.split(separator: "/").dropLast().map(String.init)
    for part in path.split(separator: "/") {
      switch part {
      case ".": continue
      case ".." where !folders.isEmpty && folders.last != "..": folders.removeLast()
      default: folders.append(String(part))
      }
    }
    return Place(file: folders.joined(separator: "/"), pointer: pointer)
  }

  // MARK: components

  private mutating func register(_ id: ComponentID, _ place: Place, from source: Place) throws(ContractError) {
    if let other = registered[id] {
      if other == place { return }
      throw failure(
        source, "the component \(id.section)/\(id.name) is in \(other.file) and in \(place.file); rename one of them")
    }
    registered[id] = place
    pending.append(id)
  }

  private mutating func registerComponents(of name: String) throws(ContractError) {
    guard case .object(let sections) = files[name]?["components"] else { return }
    for (section, members) in sections {
      for (member, value) in members.objectValue ?? JSONObject() {
        let place = Place(file: name, pointer: JSONPointer(["components", section, member]))
        guard let id = ComponentID(place.pointer) else { continue }
        // A component that only points to its namesake in another file is that component.
        if let object = value.objectValue, object.count == 1, case .string(let ref) = object["$ref"] {
          let end = try target(of: ref, from: place)
          if ComponentID(end.pointer) == id {
            try register(id, end, from: place)
            continue
          }
        }
        try register(id, place, from: place)
      }
    }
  }

  private mutating func drain() throws(ContractError) {
    while let id = pending.popLast() {
      guard let place = registered[id], let value = try file(place.file)[place.pointer] else { continue }
      origins.append((id.pointer, place))
      components[id] = try walk(value, Walk(source: place, bundled: id.pointer))
    }
  }

  // MARK: walking

  /// Where the walk is and how it reads what is there.
  private struct Walk {
    enum Mode { case keywords, names, data }
    var source: Place
    var bundled: JSONPointer
    var mode = Mode.keywords

    private static let nameMaps: Set<String> = [
      "properties", "patternProperties", "$defs", "schemas", "responses", "parameters", "headers", "requestBodies",
      "securitySchemes", "links", "callbacks", "pathItems", "paths", "content", "encoding", "examples",
    ]
    private static let data: Set<String> = [
      "example", "default", "const", "enum", "value", "required", "tags", "security",
    ]

    /// The mode in which the value of a keyword is read.
    func reading(_ key: String, _ value: JSONValue) -> Walk {
      var next = self
      if mode == .names {
        next.mode = .keywords
      } else if Self.data.contains(key) || key.hasPrefix("x-") || (key == "examples" && value.arrayValue != nil) {
        next.mode = .data
      } else {
        next.mode = Self.nameMaps.contains(key) && value.objectValue != nil ? .names : .keywords
      }
      return next
    }

    func stepping(_ token: String) -> Walk {
      Walk(source: source.appending(token), bundled: bundled.appending(token), mode: mode)
    }
  }

  private mutating func walk(_ value: JSONValue, _ walk: Walk) throws(ContractError) -> JSONValue {
    if walk.mode == .data { return value }
    switch value {
    case .array(let elements):
      var result: [JSONValue] = []
      for (position, element) in elements.enumerated() {
        result.append(try self.walk(element, walk.stepping(String(position))))
      }
      return .array(result)
    case .object(let object):
      if walk.mode == .keywords, case .string(let ref) = object["$ref"] {
        return try reference(ref, in: object, walk)
      }
      return .object(try members(of: object, walk))
    default: return value
    }
  }

  private mutating func members(of object: JSONObject, _ walk: Walk) throws(ContractError) -> JSONObject {
    var result = JSONObject(minimumCapacity: object.count)
    for (key, child) in object where key != "$ref" || walk.mode == .names {
      result[key] = try self.walk(child, walk.stepping(key).reading(key, child))
    }
    return result
  }

  private mutating func reference(
    _ ref: String, in object: JSONObject, _ walk: Walk
  ) throws(ContractError) -> JSONValue {
    let place = try target(of: ref, from: walk.source)
    if let id = ComponentID(place.pointer) {
      try register(id, place, from: walk.source)
      var result: JSONObject = ["$ref": .string("#\(id.pointer)")]
      for (key, value) in try members(of: object, walk) { result[key] = value }
      return .object(result)
    }
    guard object.count == 1 else {
      throw failure(walk.source, "a $ref to something that is no component must stand alone")
    }
    guard !inlining.contains(place) else { throw failure(walk.source, "the reference \(ref) leads in a circle") }
    inlining.append(place)
    defer { inlining.removeLast() }
    origins.append((walk.bundled, place))
    let value = try file(place.file)[place.pointer] ?? .null
    return try self.walk(value, Walk(source: place, bundled: walk.bundled))
  }

  private func failure(_ place: Place, _ problem: String) -> ContractError {
    ContractError(file: place.file, pointer: place.pointer, problem: problem)
  }
}

/// One document that refers to nothing outside of itself.
struct Bundle {
  let document: JSONValue
  let root: String
  /// Which file each part came from.
  let origins: [(bundled: JSONPointer, source: Bundler.Place)]
  /// Components that nothing refers to, as pointers into the bundle.
  let unreferenced: [JSONPointer]

  /// Where a place of the bundle was written.
  func source(of pointer: JSONPointer) -> Bundler.Place {
    let best = origins.filter { pointer.tokens.starts(with: $0.bundled.tokens) }
      .max { $0.bundled.tokens.count < $1.bundled.tokens.count }
    guard let best else { return Bundler.Place(file: root, pointer: pointer) }
    let rest = pointer.tokens.dropFirst(best.bundled.tokens.count)
    return Bundler.Place(file: best.source.file, pointer: JSONPointer(best.source.pointer.tokens + rest))
  }

  func failure(at pointer: JSONPointer, _ problem: String) -> ContractError {
    let place = source(of: pointer)
    return ContractError(file: place.file, pointer: place.pointer, problem: problem)
  }
}
