import FoundationEssentials

// Invariants
//
// - Pure: the decision is a function of the four arguments. Equal arguments give equal decisions, in any process.
// - A candidate satisfies every filter; a refusal means that no node does.
// - The inventory may be behind the database. A decision is a proposal: the claim is checked again where it is committed.

/// Chooses nodes for one VM.
///
/// - Parameters:
///   - inventory: the nodes.
///   - request: what the VM needs.
///   - policy: how nodes that fit are ranked.
///   - seed: decides among equally good nodes. Different seeds (per replica, per attempt) keep replicas from all choosing
///     the same one.
public func place(
  _ inventory: Inventory, _ request: PlacementRequest, policy: PlacementPolicy = PlacementPolicy(), seed: UInt64
) -> Decision {
  let filters = request.filters
  var fitting = inventory.present
  for filter in filters { filter.narrow(&fitting, in: inventory) }
  if fitting.isEmpty { return .refused(Refusal.explaining(request, filters, in: inventory)) }
  let best = Ranking(request, policy: policy, in: inventory).best(of: fitting, in: inventory, seed: seed)
  return .placed(best.map { Candidate(node: inventory.records[$0.slot].id, score: $0.score) })
}

/// What placement thinks of one node, for operators.
public struct NodeVerdict: Sendable, Equatable {
  /// The outcome for one node.
  public enum Outcome: Sendable, Equatable {
    /// It fits, with this score.
    case fits(score: Double)
    /// It was taken out by this constraint, for this reason.
    case removed(by: Constraint, reason: String)
  }

  /// The node.
  public let node: UUID
  /// What was found.
  public let outcome: Outcome
}

/// Says for every node whether it fits and why not: the best first, then the rest by id.
public func explain(
  _ inventory: Inventory, _ request: PlacementRequest, policy: PlacementPolicy = PlacementPolicy()
) -> [NodeVerdict] {
  let ranking = Ranking(request, policy: policy, in: inventory)
  var left = inventory.present
  var removed: [NodeVerdict] = []
  for filter in request.filters {
    var out = left
    filter.narrow(&left, in: inventory)
    out.subtract(left)
    out.forEach { slot in
      let node = inventory.records[slot]
      removed.append(
        NodeVerdict(node: node.id, outcome: .removed(by: filter.constraint, reason: filter.reason(node))))
    }
  }
  var fitting: [(id: UUID, score: Double)] = []
  left.forEach { slot in fitting.append((inventory.records[slot].id, ranking.score(slot, in: inventory))) }
  fitting.sort { $0.score != $1.score ? $0.score > $1.score : $0.id < $1.id }
  return fitting.map { NodeVerdict(node: $0.id, outcome: .fits(score: $0.score)) }
    + removed.sorted { $0.node < $1.node }
}
