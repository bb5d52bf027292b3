import JSON

/// Changes of virtual machines that an operation carries out: all are asked for first, then waited for together.
struct VMChanges: Sendable {
  let session: Session
  let wait: WaitOptions
  let isDryRun: Bool
  /// Names the project, for looking at what became of a machine.
  let query: [(String, String)]
  /// Nothing is left to look at afterwards.
  var deletes = false

  func run(
    _ names: [String], _ call: (_ name: String) -> APICall
  ) async throws(CommandFailure) {
    let several = names.count > 1
    var batch = Batch()
    var machines: [(name: String, machine: JSONValue)] = []
    for name in names {
      let call = call(name)
      let answer = try await batch.attempt(name, several: several, session.surroundings) {
        () async throws(CommandFailure) in
        try await session.api.send(call)
      }
      if let answer { machines.append((name, answer.json)) }
    }
    if wait.wait, !isDryRun {
      let waiting = OperationWait(api: session.api, timeout: wait.timeout.duration)
      var ended: [(name: String, machine: JSONValue)] = []
      for (name, machine) in machines {
        let outcome = try await batch.attempt(name, several: several, session.surroundings) {
          () async throws(CommandFailure) in
          try await end(of: machine, name, waiting)
        }
        if let outcome { ended.append((name, outcome)) }
      }
      machines = ended
    }
    try await show(machines)
    if let failure = batch.firstFailure { throw .alreadyTold(failure.status) }
  }

  /// The machine after its operation has ended.
  private func end(
    of machine: JSONValue, _ name: String, _ waiting: OperationWait
  ) async throws(CommandFailure) -> JSONValue {
    guard let operation = machine["operation"], !operation.isNull else { return machine }
    let ended = try await waiting.end(of: operation, of: name)
    if deletes, var members = machine.objectValue {
      members["operation"] = ended
      return .object(members)
    }
    let path = APIPath.path("vms", machine["id"]?.stringValue ?? name)
    return try await session.api.send(APICall(.get, path, query: query)).json
  }

  private func show(_ machines: [(name: String, machine: JSONValue)]) async throws(CommandFailure) {
    if deletes, wait.wait, !isDryRun, session.printer.format == .table {
      for (name, _) in machines { try await session.printer.deleted("virtual machine", name) }
      return
    }
    try await session.printer.changed(machines.map(\.machine), as: .vm)
  }
}
