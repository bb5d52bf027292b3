import AloftModel
import Foundation
import Postgres

extension AgentAPI {
  /// VMs in one transaction: short enough that nobody waits long for one of them.
  private static let batch = 50

  /// Takes over what an agent saw, some VMs at a time. A report that fails on the way is repeated whole; what was written of it
  /// is old news then.
  func observe(_ report: ReceivedObservations, node: NodeID) async throws -> Reply {
    if let first = report.unreadable.first {
      plane.logger.warning(
        "observations were passed over",
        metadata: ["node": "\(node)", "count": "\(report.unreadable.count)", "first": "\(first)"])
    }
    let observations = Self.merged(report.observations)
    var unknown: [VMID] = []
    // Also without observations: the node may have been removed.
    for start in stride(from: 0, to: max(observations.count, 1), by: Self.batch) {
      let batch = Array(observations[start..<min(start + Self.batch, observations.count)])
      let (known, effects) = try await plane.database.transaction { session in
        try Self.take(batch, of: node, in: session)
      }
      unknown += batch.map(\.vm).filter { !known.contains($0) }
      plane.wakeups.signal(effects.wake)
    }
    try await observe(report.volumes, node: node)
    if !unknown.isEmpty { refused("observations", unknown.prefix(10).map(\.description).joined(separator: " "), node) }
    plane.leases.renew(node.uuid)
    return try .encoded(LeaseAnswer(leaseSeconds: plane.settings.leaseSeconds, unknownVms: unknown))
  }

  /// In the order of ids; of several about one VM the newest counts, and what was completed in any of them.
  private static func merged(_ observations: [Observation]) -> [Observation] {
    var newest: [VMID: Observation] = [:]
    for var observation in observations {
      if let other = newest[observation.vm] {
        let isNewer = (other.incarnation, other.sequence) < (observation.incarnation, observation.sequence)
        let completed = other.completedRequests + observation.completedRequests
        if !isNewer { observation = other }
        observation.completedRequests = completed
      }
      newest[observation.vm] = observation
    }
    return newest.values.sorted { $0.vm.uuid.uuidString < $1.vm.uuid.uuidString }
  }

  /// Takes over one batch in three round trips: lock and read, write what is newer, tell. Returns which VMs are of this node;
  /// no other is locked.
  private static func take(
    _ batch: [Observation], of node: NodeID, in session: Session
  ) throws -> (known: Set<VMID>, effects: Effects) {
    let ids = batch.map(\.vm.uuid)
    let results = try session.pipeline([
      "SELECT 1 FROM nodes WHERE id = \(node)",
      """
      SELECT v.id FROM vms v JOIN claims c ON c.vm_id = v.id
       WHERE c.node_id = \(node) AND c.purpose = 'run' AND v.id = ANY(\(ids)) ORDER BY v.id FOR UPDATE OF v
      """,
      // Looks at the database anew, behind the wait for the locks.
      "SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source) WHERE v.id = ANY(\(ids))",
    ])
    guard !results[0].isEmpty else { throw removed(node) }
    let locked = Set(try results[1].map { try $0.get(0, as: VMID.self) })
    var vms: [VMID: VMRecord] = [:]
    for row in results[2] {
      let vm = try VMRecord(row)
      if vm.nodeID == node, locked.contains(vm.id) { vms[vm.id] = vm }
    }
    let current = batch.compactMap { observation in
      vms[observation.vm].flatMap { vm in
        observation.incarnation == vm.facts.intent.incarnation ? (observation, vm) : nil
      }
    }
    let written = try session.pipeline(current.map { writing($0.0) })
    var effects = Effects()
    var last: [SQL] = []
    for ((observation, vm), rows) in zip(current, written) where rows.affected > 0 {
      tell(observation, of: vm, statements: &last, effects: &effects)
    }
    _ = try session.pipeline(last)
    return (Set(vms.keys), effects)
  }

  /// Writes an observation if it is newer than what is known.
  private static func writing(_ observation: Observation) -> SQL {
    let problem = observation.problem
    return """
      INSERT INTO vm_observations AS o (vm_id, incarnation, generation, power, guest_stopped, activity, progress,
                                        problem_code, problem_detail, sequence, nics, disks, stale_disks)
      VALUES (\(observation.vm), \(observation.incarnation), \(observation.generation), \(observation.power),
              \(observation.guestStopped), \(observation.activity), \(observation.progress),
              \(problem?.code), \(problem?.detail), \(observation.sequence),
              \(observation.nics.map { $0.map(\.uuid) })::uuid[], \(observation.disks.map(\.uuid)),
              \(observation.staleDisks.map { $0.map(\.uuid) })::uuid[])
      ON CONFLICT (vm_id) DO UPDATE
         SET incarnation = excluded.incarnation, generation = excluded.generation, power = excluded.power,
             guest_stopped = excluded.guest_stopped, activity = excluded.activity, progress = excluded.progress,
             problem_code = excluded.problem_code, problem_detail = excluded.problem_detail,
             sequence = excluded.sequence, nics = excluded.nics, disks = excluded.disks,
             stale_disks = excluded.stale_disks, reported_at = excluded.reported_at
       WHERE (o.incarnation, o.sequence) < (excluded.incarnation, excluded.sequence)
      """
  }

  /// What follows from an observation that was written: requests end, the VM's work row is woken, users are told.
  private static func tell(
    _ observation: Observation, of vm: VMRecord, statements: inout [SQL], effects: inout Effects
  ) {
    var after = vm.facts
    after.observed = VMObserved(
      incarnation: observation.incarnation, generation: observation.generation, power: observation.power,
      guestStopped: observation.guestStopped, activity: observation.activity, progress: observation.progress,
      problem: observation.problem, nics: observation.nics.map { Set($0.map(\.uuid)) },
      disks: Set(observation.disks.map(\.uuid)), staleDisks: Set((observation.staleDisks ?? []).map(\.uuid)))
    let completed = observation.completedRequests.map(\.uuid)
    if !after.pendingRequests.isDisjoint(with: completed) {
      statements.append("DELETE FROM vm_requests WHERE vm_id = \(vm.id) AND id = ANY(\(completed))")
      after.pendingRequests.subtract(completed)
    }
    if let resumed = observation.resumed { statements.append(SnapshotMemory.forgetting(of: vm.id, request: resumed)) }
    // Also where an agent of an older version has let it boot: its memory does not fit its volumes any more.
    let hasRun = observation.power == .running && vm.facts.observed?.power != .running || observation.guestStopped
    if hasRun { statements.append(SnapshotMemory.forgetting(of: vm.id)) }
    if after == vm.facts { return }
    statements.append(WorkQueue.waking(.vm, vm.id.uuid))
    effects.wake.insert(.work)
    if let told = VMStore.tellingStateChange(of: vm, from: vm.facts, to: after) {
      statements.append(told)
      effects.wake.insert(.events)
    }
  }
}
