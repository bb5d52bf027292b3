import AloftModel
@testable import ControlPlane
import SimulatedHypervisor

// What must hold. Some of it always; the rest once the faults have stopped and everything has come to rest.

extension World {
  // MARK: Always

  /// One VM, one place.
  func checkHosts() {
    var places: [VMID: Int] = [:]
    for (index, node) in nodes.enumerated() {
      for vm in node.host.vms where node.host.domain(vm)?.power.isActive == true {
        if node.host.faults.portsAreMissing, node.host.domain(vm)?.power == .paused(.asked) {
          trace.count("a guest was held without its ports")
        }
        if let other = places[vm] { fail("\(vm) runs on node \(other) and on node \(index)") }
        places[vm] = index
      }
    }
  }

  /// Never oversold.
  func checkClaims() async throws {
    for line in try await observer.oversold() { fail("oversold: \(line)") }
  }

  // MARK: In the end

  /// What is not yet at rest; empty when everything is.
  func unrest() async throws -> [String] {
    var lines = calls.map { "user \($0.turn) \($0.action.verb) has no answer" }
    lines += held.map { "a step of replica \($0.step.replica) is held up" }
    lines += try await observer.texts(
      """
      SELECT format('operation %s of vm %s: %s, waits for %s', kind, resource_id, status, waiting_for) FROM operations
       WHERE finished_at IS NULL ORDER BY id
      """)
    let nics = try await observer.nics()
    for vm in try await observer.vms() {
      if let why = unrest(of: vm, nics[vm.id] ?? []) { lines.append("\(vm.name) \(vm.id): \(why)") }
    }
    return lines
  }

  private func unrest(of vm: VMRecord, _ nics: [(id: NICID, isLeaving: Bool)]) -> String? {
    if vm.facts.intent.deleted { return "is not deleted yet" }
    let state = VMDerivedState.of(vm.facts)
    let wanted: VMState = vm.facts.intent.desiredPower == .running ? .running : .stopped
    guard state.state == wanted else { return "is \(state.state), not \(wanted): \(state.reason ?? "")" }
    guard vm.facts.current?.generation == vm.facts.intent.generation else { return "its last change was not seen" }
    guard let index = nodes.indices.first(where: { "node-\($0)" == vm.facts.host?.name }) else { return "has no node" }
    if let leaving = nics.first(where: \.isLeaving) { return "has not let go of \(leaving.id)" }
    let domain = nodes[index].host.domain(vm.id)
    let (power, plugged) = (domain?.power, Set((domain?.nics ?? []).map(\.id)))
    if wanted == .running, plugged != Set(nics.map(\.id)) { return "has NICs \(plugged), not \(nics.map(\.id))" }
    switch wanted {
    case .running: return power == .running ? nil : "is shown running and is \(power.map { "\($0)" } ?? "absent")"
    default: return power?.isActive == false ? nil : "is shown stopped and is \(power.map { "\($0)" } ?? "absent")"
    }
  }

  /// To be called once nothing is left to do.
  func checkEnd() async throws {
    for finding in try await observer.findings() { fail("check: \(finding)") }
    try await checkClaims()
    try await checkEvents()
    try await checkOperations()
    let vms = try await observer.vms()
    let nics = try await observer.nics()
    for vm in vms { checkIntent(vm, Set((nics[vm.id] ?? []).map(\.id))) }
    // Each of theirs has one: the networks have one subnet each.
    let (have, need) = (try await observer.addressesInUse(), nics.values.reduce(0) { $0 + $1.count })
    if have != need { fail("\(have) addresses are in use by \(need) NICs") }
    let living = Set(vms.map(\.id))
    for (number, entry) in ledger.entries.sorted(by: { $0.key < $1.key }) {
      if let id = entry.id, entry.isCreated, !entry.isDeleted, !living.contains(id) {
        fail("vm-\(number) was accepted and is gone")
      }
      if let id = entry.id { checkLives(id, number, entry) }
    }
    for (index, node) in nodes.enumerated() {
      for vm in node.host.traces {
        guard let owner = vms.first(where: { $0.id == vm }) else {
          fail("node \(index) keeps something of \(vm), which is gone: \(traces(of: vm, on: node.host))")
          continue
        }
        if owner.facts.host?.name != "node-\(index)" { fail("node \(index) keeps something of \(vm) of another node") }
      }
    }
  }

  private func traces(of vm: VMID, on host: SimulatedHost) -> String {
    "\(host.domain(vm).map { "\($0.power)" } ?? "no domain"), \(host.files(vm)), \(host.journal(vm))"
  }

  /// What was promised has ended, for a reason, and is on record once.
  private func checkOperations() async throws {
    let ended = try await observer.operations()
    for id in operations.subtracting(ended.keys) { fail("operation \(id) was accepted and is not there") }
    for (id, end) in ended.sorted(by: { $0.key.description < $1.key.description }) {
      trace.count("operation \(end.status)\(end.error.map { ": \($0)" } ?? "")")
      if end.endings != 1 { fail("operation \(id) ended \(end.endings) times, by its events") }
      if let objection = end.objection { fail("operation \(id): \(objection)") }
    }
    let audited = try await observer.auditedChanges()
    if audited != changes { fail("\(changes) changes were accepted, \(audited) are in the audit") }
  }

  /// The rows say what was accepted last.
  private func checkIntent(_ vm: VMRecord, _ nics: Set<NICID>) {
    guard let (number, entry) = ledger[id: vm.id] else { return fail("nobody asked for \(vm.name) \(vm.id)") }
    if !entry.isCreated || entry.isDeleted { fail("vm-\(number) is there and should not be") }
    if nics != entry.nics { fail("vm-\(number) has NICs \(nics), not \(entry.nics)") }
    if vm.name != entry.name { fail("vm-\(number) is named \(vm.name), not \(entry.name)") }
    if !entry.label.isEmpty, !vm.labels.contains("\"\(entry.label)\"") {
      fail("vm-\(number) has labels \(vm.labels), not \(entry.label)")
    }
    if entry.guestWentOff == 0, vm.facts.intent.desiredPower != entry.power {
      fail("vm-\(number) is meant to be \(vm.facts.intent.desiredPower); \(entry.power) was accepted last")
    }
  }

  /// Guests end because users, guests or hosts end them, and never because a part of Aloft died.
  private func checkLives(_ id: VMID, _ number: Int, _ entry: Ledger.Entry) {
    let records = nodes.map { $0.host.record(id) }
    let stops = records.reduce(0) { $0 + $1.stops }
    // A guest that had turned itself off may have been started again before Aloft heard of it.
    let reasons = entry.stops + (entry.isDeleted ? 1 : 0) + entry.guestWentOff
    if stops > reasons { fail("vm-\(number) \(id) was ended \(stops) times, for \(reasons) reasons") }
    let reboots = records.reduce(0) { $0 + $1.reboots }
    if reboots > entry.reboots {
      fail("vm-\(number) \(id) was rebooted \(reboots) times, asked \(entry.reboots) times")
    }
    let starts = records.reduce(0) { $0 + $1.starts }
    if starts > 0, entry.creation.power == .stopped, entry.starts == 0 { fail("vm-\(number) \(id) was never to start") }
  }

  /// A reader that went on from where it was has got every event once, in order.
  private func checkEvents() async throws {
    var read = heardEvents
    // Transactions of other histories on the same server hold the newest back for a moment.
    for _ in 0..<10_000 where read.count < (try await observer.eventCount()) {
      read += try await observer.events(after: read.last?.cursor ?? .oldest)
      await Task.yield()
    }
    let count = try await observer.eventCount()
    if read.count != count { fail("a reader got \(read.count) of \(count) events") }
    for (first, second) in zip(read, read.dropFirst()) where first.cursor >= second.cursor {
      fail("event \(second.cursor) came behind \(first.cursor)")
    }
    let kinds = Dictionary(grouping: read.filter { $0.kind.hasPrefix("vm.") }, by: \.resourceID)
    for (vm, events) in kinds {
      let names = events.map(\.kind)
      if names.first != "vm.created" || names.count(where: { $0 == "vm.created" }) != 1 {
        fail("the events of \(vm) begin with \(names.prefix(3))")
      }
      if let end = names.firstIndex(of: "vm.deleted"), end != names.count - 1 {
        fail("\(vm) went on after its deletion")
      }
    }
  }

  /// The reader reads on.
  func readEvents() async throws {
    heardEvents += try await observer.events(after: heardEvents.last?.cursor ?? .oldest)
  }
}
