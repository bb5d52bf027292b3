import AloftModel
import Foundation
import HTTPTypes
import Postgres

/// Handles the calls that all nouns of one kind have: list, show, create, change, delete. A noun gives what is its own as closures,
/// which run in the transaction of the change.
struct Resources<Item: Resource>: Sendable {
  typealias ID = TypeID<Item.Kind>
  typealias Store = ResourceStore<Item>

  let plane: Plane
  /// Who is woken behind every change.
  let wakes: Set<Topic>

  init(_ plane: Plane, waking: Set<Topic> = []) {
    self.plane = plane
    wakes = waking.union([.events])
  }

  /// A page of the list, of what `condition` keeps.
  func list(_ call: Call, where condition: @escaping @Sendable (Session) throws -> SQL = { _ in "" }) async throws
    -> Reply
  {
    let items = try await plane.database.run { session in
      try Store.page(call, where: try condition(session), in: session)
    }
    return .page(items, limit: call.limit) { $0.id.uuid }
  }

  func get(_ call: Call) async throws -> Reply {
    let item = try await plane.database.run { session in try Store.require(call, shown: true, in: session) }
    return .json(item, etag: item.etag)
  }

  /// Makes one. `insert` writes its row, for the project if it belongs to one.
  func create(_ call: Call, _ insert: @escaping @Sendable (ID, ProjectID?, Session) throws -> Void) async throws
    -> Reply
  {
    let id = ID(plane.environment.newUUID())
    return try await plane.change(call) { session in
      let project = Item.isCloudWide ? nil : try ProjectStore.require(call, in: session)
      try insert(id, project, session)
      return try changed(id, Item.noun.created, status: call.isDryRun ? .ok : .created, in: session)
    }
  }

  /// Changes one that is locked. `body` writes what is the noun's own; `words` are name and labels.
  func update(
    _ call: Call, name: String? = nil, labels: [String: String]? = nil,
    _ body: @escaping @Sendable (Item, Session) throws -> Void = { _, _ in }
  ) async throws -> Reply {
    try await plane.change(call) { session in
      let item = try Store.lock(call, to: .change, in: session)
      try body(item, session)
      try Store.touch(item.id, name: name, labels: labels, in: session)
      return try changed(item.id, Item.noun.updated, in: session)
    }
  }

  /// Changes a part of one that is locked. `body` gives the answer; nil: that it is done.
  func edit(
    _ call: Call, _ body: @escaping @Sendable (Item, Session) throws -> (@Sendable (Item) -> Reply)?
  ) async throws -> Reply {
    try await plane.change(call) { session in
      let item = try Store.lock(call, to: .change, in: session)
      let answer = try body(item, session)
      try Store.touch(item.id, in: session)
      var changed = try changed(item.id, Item.noun.updated, in: session)
      guard let answer, let whole = try Store.find(item.id, in: session) else {
        changed.reply = .noContent
        return changed
      }
      changed.reply = answer(whole)
      return changed
    }
  }

  /// Deletes one, if `check` has nothing against it: nothing can come to refer to it any more.
  func delete(_ call: Call, _ check: @escaping @Sendable (Item, Session) throws -> Void = { _, _ in }) async throws
    -> Reply
  {
    try await plane.change(call) { session in
      let item = try Store.lock(call, to: .delete, in: session)
      try check(item, session)
      try Store.delete(item.id, in: session)
      try EventStore.append(
        Item.noun.deleted, project: item.projectID, resource: item.id.uuid, data: ["name": item.name], in: session)
      return Changed(
        reply: .noContent, effects: Effects(wake: wakes), resource: item.id.uuid, project: item.projectID)
    }
  }

  /// The answer to a change, and its event.
  func changed(_ id: ID, _ event: EventKind, status: HTTPResponse.Status = .ok, in session: Session) throws -> Changed {
    guard let item = try Store.find(id, in: session) else { throw Store.absent("\(id)") }
    try EventStore.append(event, project: item.projectID, resource: id.uuid, data: ["name": item.name], in: session)
    var reply = Reply.json(item, status: status, etag: item.etag)
    if event == Item.noun.created { reply.headers[.location] = item.location }
    return Changed(reply: reply, effects: Effects(wake: wakes), resource: id.uuid, project: item.projectID)
  }
}
