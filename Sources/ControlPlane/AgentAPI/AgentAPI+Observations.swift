import AloftModel
import Foundation
import Postgres

extension AgentAPI {
  /// Takes over what an agent saw, all of it in one transaction.
  func observe(_ report: ObservationReport, node: NodeID) async throws -> Reply {
    // In the order of ids, so that two reports cannot lock each other out; of several about one VM the newest counts.
    let observations = report.observations.sorted {
      ($0.vm.uuid.uuidString, $0.sequence) < ($1.vm.uuid.uuidString, $1.sequence)
    }
    let (unknown, effects) = try await plane.database.transaction { session -> ([VMID], Effects) in
      guard try session.one("SELECT 1 FROM nodes WHERE id = \(node)") != nil else { throw Self.removed(node) }
      var unknown: [VMID] = []
      var effects = Effects()
      var last: [SQL] = []
      for observation in observations {
        guard let vm = try VMStore.lock(observation.vm, in: session), vm.nodeID == node else {
          unknown.append(observation.vm)
          continue
        }
        try Self.take(observation, of: vm, in: session, effects: &effects, last: &last)
      }
      _ = try session.pipeline(last)
      return (unknown, effects)
    }
    plane.leases.renew(node.uuid)
    plane.wakeups.signal(effects.wake)
    return try .encoded(LeaseAnswer(leaseSeconds: plane.settings.leaseSeconds, unknownVms: unknown))
  }

  /// Writes one observation. What nothing else in the transaction reads is put into `last`.
  private static func take(
    _ observation: Observation, of vm: VMRecord, in session: Session, effects: inout Effects, last: inout [SQL]
  ) throws {
    guard observation.incarnation == vm.facts.intent.incarnation else { return }
    let problem = observation.problem
    let written = try session.execute(
      """
      INSERT INTO vm_observations AS o (vm_id, incarnation, generation, power, guest_stopped, activity, progress,
                                        problem_code, problem_detail, sequence)
      VALUES (\(observation.vm), \(observation.incarnation), \(observation.generation), \(observation.power),
              \(observation.guestStopped), \(observation.activity), \(observation.progress),
              \(problem?.code), \(problem?.detail), \(observation.sequence))
      ON CONFLICT (vm_id) DO UPDATE
         SET incarnation = excluded.incarnation, generation = excluded.generation, power = excluded.power,
             guest_stopped = excluded.guest_stopped, activity = excluded.activity, progress = excluded.progress,
             problem_code = excluded.problem_code, problem_detail = excluded.problem_detail,
             sequence = excluded.sequence, reported_at = excluded.reported_at
       WHERE (o.incarnation, o.sequence) < (excluded.incarnation, excluded.sequence)
      """)
    if written == 0 { return }

    var after = vm.facts
    after.observed = VMObserved(
      incarnation: observation.incarnation, generation: observation.generation, power: observation.power,
      guestStopped: observation.guestStopped, activity: observation.activity, progress: observation.progress,
      problem: observation.problem)
    let completed = observation.completedRequests.map(\.uuid)
    if !after.pendingRequests.isDisjoint(with: completed) {
      _ = try session.execute("DELETE FROM vm_requests WHERE vm_id = \(vm.id) AND id = ANY(\(completed))")
      after.pendingRequests.subtract(completed)
    }
    if after == vm.facts { return }

    last.append(WorkQueue.waking(.vm, vm.id.uuid))
    effects.wake.insert(.work)
    if let told = VMStore.tellingStateChange(of: vm, from: vm.facts, to: after) {
      last.append(told)
      effects.wake.insert(.events)
    }
  }
}
