/// The members of a JSON object: ordered as written, found by name in constant time.
///
/// Small objects are searched linearly, which is faster than hashing; an index is built beyond `indexThreshold` members.
public struct JSONObject: Sendable {
  /// One member.
  public typealias Member = (key: String, value: JSONValue)

  static let indexThreshold = 8

  private var members: [Member] = []
  private var index: [String: Int]?

  public init() {}

  public init(minimumCapacity: Int) { members.reserveCapacity(minimumCapacity) }

  public var count: Int { members.count }
  public var isEmpty: Bool { members.isEmpty }
  /// The names in order.
  public var keys: [String] { members.map(\.key) }
  /// The values in order.
  public var values: [JSONValue] { members.map(\.value) }

  /// The member of that name. Setting nil removes it; a new name goes to the end.
  public subscript(_ name: String) -> JSONValue? {
    get { position(of: name).map { members[$0].value } }
    set {
      switch (position(of: name), newValue) {
      case (let position?, let value?): members[position].value = value
      case (let position?, nil):
        members.remove(at: position)
        rebuildIndex()
      case (nil, let value?): append(name, value)
      case (nil, nil): break
      }
    }
  }

  /// Whether there is a member of that name.
  public func contains(_ name: String) -> Bool { position(of: name) != nil }

  /// Adds a member unless the name is taken; false then.
  mutating func insertNew(_ name: String, _ value: JSONValue) -> Bool {
    if position(of: name) != nil { return false }
    append(name, value)
    return true
  }

  private func position(of name: String) -> Int? {
    if let index { return index[name] }
    return members.firstIndex { $0.key == name }
  }

  private mutating func append(_ name: String, _ value: JSONValue) {
    members.append((name, value))
    if index != nil {
      index?[name] = members.count - 1
    } else if members.count > Self.indexThreshold {
      rebuildIndex()
    }
  }

  private mutating func rebuildIndex() {
    guard members.count > Self.indexThreshold else {
      index = nil
      return
    }
    var fresh = [String: Int](minimumCapacity: members.count * 2)
    for (position, member) in members.enumerated() { fresh[member.key] = position }
    index = fresh
  }
}

extension JSONObject: RandomAccessCollection {
  public var startIndex: Int { 0 }
  public var endIndex: Int { members.count }
  public subscript(_ position: Int) -> Member { members[position] }
}

extension JSONObject: Hashable {
  public static func == (a: JSONObject, b: JSONObject) -> Bool {
    a.count == b.count && a.members.allSatisfy { b[$0.key] == $0.value }
  }

  public func hash(into hasher: inout Hasher) {
    // Order does not count for equality, so the members' hashes are combined by a commutative operation.
    var combined = 0
    for member in members {
      var memberHasher = Hasher()
      memberHasher.combine(member.key)
      memberHasher.combine(member.value)
      combined ^= memberHasher.finalize()
    }
    hasher.combine(combined)
  }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    for (name, value) in elements { self[name] = value }
  }
}
