import AloftModel
import JSON
import SimulatedHypervisor

// What users do: they call, and call again when they hear nothing, with the same Idempotency-Key, at the other replica.

extension World {
  func begin(_ action: UserAction) async throws {
    turn += 1
    if case .create(let creation) = action {
      ledger.entries[creation.vm] = Ledger.Entry(
        creation: creation, name: "vm-\(creation.vm)", power: creation.power)
    }
    trace.count(action.verb)
    try await tryCall(
      UserCall(action, turn: turn, replica: number(0...(Cluster.size - 1)), token: laboratory.token, ledger: ledger))
  }

  func tryCall(_ call: UserCall) async throws {
    var call = call
    call.tries += 1
    let request = Cluster.request(call.method, call.target, headers: call.headers, bytes: call.bytes)
    let progress = try await cluster.begin(call.replica, mayHold: true) { .response(await $0.respond(request)) }
    let asked = call
    try follow(progress) { world, ended in
      try world.hear(try ended.map { try CallOutcome($0) } ?? .refused, of: asked)
    }
  }

  private func hear(_ outcome: CallOutcome, of asked: UserCall) throws {
    var call = asked
    let name = "user \(call.turn) \(call.action.verb) \(call.target)"
    var hasCommitted = false
    var heard: Answer?
    switch outcome {
    case .refused: trace.note("\(name): replica \(call.replica) is down")
    case .lost(let committed):
      trace.note("\(name): no answer\(committed ? ", but done" : "")")
      hasCommitted = committed
    case .answered(let answer, let committed, let troubled):
      let change = committed && (answer.status == 202 || answer.status == 200 || answer.status == 503)
      hasCommitted = change
      trace.note("\(name): \(answer.status) \(stableHash(answer.bytes))")
      if answer.status >= 500, !troubled { return fail("\(name) was answered \(answer.status): \(answer.text)") }
      if answer.status < 500 {
        if !isHealed, happens(history.weather.lostClientAnswer) {
          trace.count("user's answer lost")
          trace.note("\(name): the answer is lost")
        } else {
          heard = answer
        }
      }
    }
    // Only a key makes a repetition harmless: a DELETE or PATCH that is sent again happens again.
    if hasCommitted, !call.isApplied || call.headers["Idempotency-Key"] == nil {
      call.isApplied = true
      if call.action.isChange { changes += 1 }
      ledger.apply(call.action, turn: call.turn, nic: call.nic)
      wakeWorkers()
      wakePolls()
    }
    if let heard { return take(heard, call, name) }
    call.replica = (call.replica + 1) % Cluster.size
    call.retryAt = clock.now().uptime + number(100...2_500)
    trace.count("retry")
    calls.append(call)
  }

  private func take(_ answer: Answer, _ call: UserCall, _ name: String) {
    let json = answer.json
    let code = json["code"]?.stringValue
    trace.count("answer \(answer.status)\(code.map { " \($0)" } ?? "")")
    if answer.status == 200 || answer.status == 202 { return takeSuccess(answer, json, call, name) }
    // Renamed or deleted by an earlier try, or by somebody else since the call was made.
    let isByOldName = call.action.vm.flatMap { ledger.entries[$0] }.map { entry in
      !call.target.contains(entry.id?.description ?? "?") && !(call.target + "/").contains("/\(entry.name)/")
    }
    if answer.status == 404, isByOldName == true { return }
    if let objection = ledger.objection(to: answer.status, code: code, for: call.action, again: call.tries > 1) {
      fail("\(name): \(objection): \(answer.text)")
    }
  }

  private func takeSuccess(_ answer: Answer, _ json: JSONValue, _ call: UserCall, _ name: String) {
    if call.action.isChange, !call.isApplied { fail("\(name): accepted and not committed") }
    if answer.status == 202, let operation = json["operation"]?["id"]?.stringValue.flatMap({ OperationID($0) }) {
      operations.insert(operation)
    }
    guard let vm = call.action.vm else { return }
    learnNICs(json, of: vm, call.action)
    guard let id = json["id"]?.stringValue.flatMap({ VMID($0) }) else { return }
    if let known = ledger.entries[vm]?.id, known != id { fail("\(name): is \(id) now and was \(known)") }
    if call.action.isCreate, call.tries > 1 { trace.count("create retried") }
    learn(id, of: vm)
    if let etag = answer.header("ETag") { ledger.entries[vm]?.etag = etag }
  }

  /// A VM that was made, or a NIC.
  private func learnNICs(_ json: JSONValue, of vm: Int, _ action: UserAction) {
    let made: [JSONValue]
    switch action {
    case .create: made = json["nics"]?.arrayValue ?? []
    case .attach: made = [json]
    default: return
    }
    ledger.entries[vm]?.nics.formUnion(made.compactMap { $0["id"]?.stringValue.flatMap { NICID($0) } })
  }

  /// The id of a VM is known: its guest may be one of those that do not listen.
  func learn(_ id: VMID, of vm: Int) {
    guard ledger.entries[vm]?.id == nil else { return }
    ledger.entries[vm]?.id = id
    guard ledger.entries[vm]?.creation.guestIgnoresACPI == true else { return }
    trace.count("guest ignores ACPI")
    var guest = SimulatedHost.Guest()
    guest.ignoresACPI = true
    for node in nodes { node.host.setGuest(guest, of: id) }
  }
}

extension UserAction {
  /// The VM that it is about.
  var vm: Int? {
    switch self {
    case .create(let creation): creation.vm
    case .start(let vm), .stop(let vm, _), .reboot(let vm, _), .delete(let vm, _), .rename(let vm), .relabel(let vm, _),
      .read(let vm), .attach(let vm, _), .detach(let vm, _):
      vm
    case .list, .explain: nil
    }
  }

  var isCreate: Bool { if case .create = self { true } else { false } }

  var isChange: Bool {
    switch self {
    case .read, .list, .explain: false
    default: true
    }
  }
}
