import AloftModel
import Foundation
import Postgres

/// The rows of a ``Resource``.
enum ResourceStore<Item: Resource> {
  typealias ID = TypeID<Item.Kind>

  private static var selection: SQL {
    "SELECT \(fragment: Item.columns) FROM \(identifier: Item.noun.table) r \(fragment: Item.joins)"
  }

  private static var shownSelection: SQL {
    "SELECT \(fragment: Item.shownColumns) FROM \(identifier: Item.noun.table) r \(fragment: Item.joins)"
  }

  /// That a row is of the call's project, or of the cloud.
  private static func scope(_ call: Call) -> SQL {
    let owner: SQL = Item.isCloudWide ? "true" : "r.project_id = \(fragment: ProjectStore.id(call))"
    return "\(fragment: owner)\(fragment: Item.restriction)"
  }

  /// As it is shown.
  static func find(_ id: ID, in session: Session) throws -> Item? {
    try session.one("\(fragment: shownSelection) WHERE r.id = \(id)").map { try Item($0) }
  }

  /// By id or name, among what the call may name.
  static func find(_ reference: String, _ call: Call, shown: Bool = false, in session: Session) throws -> Item? {
    guard Item.hasName || ID(reference) != nil else { return nil }
    let condition: SQL = ID(reference).map { "r.id = \($0)" } ?? "r.name = \(reference)"
    let selection = shown ? shownSelection : selection
    return try session.one(
      "\(fragment: selection) WHERE \(fragment: scope(call)) AND \(fragment: condition) \(fragment: Item.preference)"
    ).map { try Item($0) }
  }

  /// What the call's path names.
  static func require(_ call: Call, shown: Bool = false, in session: Session) throws -> Item {
    try require(call.string(Item.noun.parameter) ?? "", call, shown: shown, in: session)
  }

  /// What a path or a body names; `pointer` is where in the body.
  static func require(
    _ reference: String, _ call: Call, shown: Bool = false, at pointer: String? = nil, in session: Session
  ) throws -> Item {
    if let found = try find(reference, call, shown: shown, in: session) { return found }
    // Which of the two does not exist takes a second look.
    if !Item.isCloudWide { _ = try ProjectStore.require(call, in: session) }
    throw absent(reference, at: pointer)
  }

  /// Locks what a call's path names, reads it as it is then, and checks `If-Match`.
  static func lock(_ call: Call, to purpose: LockPurpose, in session: Session) throws -> Item {
    let found = try require(call, in: session)
    guard let locked = try lock(found.id, to: purpose, in: session) else { throw absent(found.name) }
    try call.requireMatch(locked.etag)
    return locked
  }

  /// Locks a row and reads it as it is then; nil when it is gone, or was hidden meanwhile.
  static func lock(_ id: ID, to purpose: LockPurpose, in session: Session) throws -> Item? {
    let row = try session.one(
      "SELECT 1 FROM \(identifier: Item.noun.table) WHERE id = \(id) \(fragment: purpose.clause)")
    if row == nil { return nil }
    return try session.one("\(fragment: selection) WHERE r.id = \(id)\(fragment: Item.restriction)").map {
      try Item($0)
    }
  }

  /// A page in the order of ids, which is the order of creation. `condition` follows others.
  static func page(_ call: Call, where condition: SQL, in session: Session) throws -> [Item] {
    var conditions = scope(call)
    if let after = try call.cursor() { conditions.append(" AND r.id > \(after)") }
    if let name = call.string("name") { conditions.append(" AND r.name = \(name)") }
    for label in call.labelFilters() { conditions.append(VMStore.labelCondition("r.labels", label)) }
    conditions.append(condition)
    let items = try session.query(
      "\(fragment: shownSelection) WHERE \(fragment: conditions) ORDER BY r.id LIMIT \(call.limit + 1)"
    ).map { try Item($0) }
    if items.isEmpty, !Item.isCloudWide { _ = try ProjectStore.require(call, in: session) }
    return items
  }

  /// Changes the user's own words for it and counts the change, of whatever it is.
  static func touch(_ id: ID, name: String? = nil, labels: [String: String]? = nil, in session: Session) throws {
    let labels = labels.map { JSONText($0.jsonText) }
    let naming: SQL = Item.hasName ? "name = coalesce(\(name), name)," : ""
    try session.execute(
      """
      UPDATE \(identifier: Item.noun.table) SET \(fragment: naming) labels = coalesce(\(labels)::jsonb, labels),
             revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      """
    ) { refusal(of: $0, name: name ?? "") }
  }

  static func delete(_ id: ID, in session: Session) throws {
    try session.execute("DELETE FROM \(identifier: Item.noun.table) WHERE id = \(id)")
  }

  /// Deletes those of a project that is being emptied, with an event for each. `condition` follows others.
  static func deleteAll(of project: ProjectID, where condition: SQL = "", in session: Session) throws {
    let gone = try session.query(
      """
      \(fragment: selection) WHERE r.project_id = \(project)\(fragment: Item.restriction)\(fragment: condition) ORDER BY r.id
      """
    ).map { try Item($0) }
    for item in gone {
      try delete(item.id, in: session)
      try EventStore.append(
        Item.noun.deleted, project: project, resource: item.id.uuid, data: ["name": item.name], in: session)
    }
  }

  /// What the caller of an insert or a change of names gets where the server's refusal is the caller's doing.
  static func refusal(of error: PostgresError, name: String) -> Problem? {
    if error.isUniqueViolation(Item.noun.uniqueName) { return .nameTaken(name, what: Item.noun.indefinite) }
    if error.isForeignKeyViolation("\(Item.noun.table)_project_id_fkey") {
      return Problem(.notFound, "the project was deleted a moment ago")
    }
    return nil
  }

  static func absent(_ reference: String, at pointer: String? = nil) -> Problem {
    let place = Item.isCloudWide ? "" : " in this project"
    return Problem(
      .notFound, "there is no \(Item.noun.word) \(reference)\(place); GET /v1/\(Item.noun.path) lists them",
      errors: pointer.map { [.init(code: .notFound, detail: "unknown", pointer: $0)] })
  }
}

/// What a transaction wants of a row that it locks.
enum LockPurpose {
  /// To change it, one transaction at a time. What refers to it comes and goes as it likes.
  case change
  /// To delete it: nothing comes to refer to it meanwhile.
  case delete

  var clause: SQL {
    switch self {
    case .change: "FOR NO KEY UPDATE"
    case .delete: "FOR UPDATE"
    }
  }
}
