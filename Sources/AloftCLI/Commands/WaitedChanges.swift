import JSON

/// Changes that an operation carries out: all are asked for first, then waited for together.
struct WaitedChanges: Sendable {
  let session: Session
  let wait: WaitOptions
  let isDryRun: Bool
  /// Names the project, for looking at what became of it.
  let query: [(String, String)]
  /// Nothing is left to look at afterwards.
  var deletes = false
  var collection = "vms"
  var word = "virtual machine"
  var presentation = Presentation.vm

  func run(
    _ names: [String], _ call: (_ name: String) -> APICall
  ) async throws(CommandFailure) {
    let several = names.count > 1
    var batch = Batch()
    var items: [(name: String, item: JSONValue)] = []
    for name in names {
      let call = call(name)
      let answer = try await batch.attempt(name, several: several, session.surroundings) {
        () async throws(CommandFailure) in
        try await session.api.send(call)
      }
      if let answer { items.append((name, answer.json)) }
    }
    if wait.wait, !isDryRun {
      let waiting = OperationWait(api: session.api, timeout: wait.timeout.duration)
      var ended: [(name: String, item: JSONValue)] = []
      for (name, item) in items {
        let outcome = try await batch.attempt(name, several: several, session.surroundings) {
          () async throws(CommandFailure) in
          try await end(of: item, name, waiting)
        }
        if let outcome { ended.append((name, outcome)) }
      }
      items = ended
    }
    try await show(items)
    if let failure = batch.firstFailure { throw .alreadyTold(failure.status) }
  }

  /// The resource after its operation has ended.
  private func end(
    of item: JSONValue, _ name: String, _ waiting: OperationWait
  ) async throws(CommandFailure) -> JSONValue {
    guard let operation = item["operation"], !operation.isNull else { return item }
    let ended = try await waiting.end(of: operation, of: name)
    if deletes, var members = item.objectValue {
      members["operation"] = ended
      return .object(members)
    }
    let path = APIPath.path(collection, item["id"]?.stringValue ?? name)
    return try await session.api.send(APICall(.get, path, query: query)).json
  }

  private func show(_ items: [(name: String, item: JSONValue)]) async throws(CommandFailure) {
    if deletes, wait.wait, !isDryRun, session.printer.format == .table {
      for (name, _) in items { try await session.printer.deleted(word, name) }
      return
    }
    try await session.printer.changed(items.map(\.item), as: presentation)
  }
}
