import FoundationEssentials

/// A node that fits.
public struct Candidate: Sendable, Equatable {
  /// The node.
  public let node: UUID
  /// Its score; higher is better. Comparable within one decision only.
  public let score: Double
}

/// What placement says.
public enum Decision: Sendable, Equatable {
  /// Nodes that fit, best first: at least one, at most ``PlacementPolicy/candidates``.
  case placed([Candidate])
  /// No node fits.
  case refused(Refusal)
}

/// Why no node fits. Names no node, so tenants may see it.
public struct Refusal: Sendable, Equatable {
  /// What one constraint did.
  public struct Removal: Sendable, Equatable {
    /// The constraint.
    public let constraint: Constraint
    /// What was asked for, for humans.
    public let requirement: String
    /// How many nodes it took out that no earlier constraint had.
    public let nodes: Int
  }

  /// How many nodes there are.
  public let totalNodes: Int
  /// The constraints that took nodes out, in the order they were applied. Their nodes add up to `totalNodes`.
  public let removals: [Removal]
  /// Changes each of which alone would make it fit; the smallest first. Empty when no single one would.
  public let suggestions: [Suggestion]

  /// One paragraph for humans.
  public var message: String {
    if totalNodes == 0 { return "there are no nodes" }
    let removed = removals.map { "\($0.nodes) by \($0.constraint.code) (\($0.requirement))" }
    let text = "none of \(counted(totalNodes, "node")) fits; ruled out: " + removed.joined(separator: ", ")
    return suggestions.isEmpty
      ? text + ". No single change would make it fit"
      : text + ". It would fit: " + suggestions.map(\.message).joined(separator: "; ")
  }
}

/// A change to a request that would make it fit.
public enum Suggestion: Sendable, Equatable {
  /// Where else it would fit: another zone or architecture.
  public struct Alternative: Sendable, Equatable {
    /// The value to ask for instead.
    public let value: String
    /// How many nodes would fit.
    public let nodes: Int
  }

  /// Ask for at most `to` of a resource; then `nodes` nodes fit.
  case lower(Resource, from: Int, to: Int, nodes: Int)
  /// Ask for no more than these amounts; then `nodes` nodes fit. Said only when no single resource is the reason.
  case lowerAll(to: Capacity, nodes: Int)
  /// Do not ask for this; then `nodes` nodes fit.
  case drop(Constraint, requirement: String, nodes: Int, alternatives: [Alternative])
  /// Wait, or ask an operator: `nodes` nodes would fit if they took new VMs.
  case whenReady(nodes: Int)

  /// One clause for humans.
  public var message: String {
    switch self {
    case .lower(let resource, _, let value, let nodes):
      return "with \(resource.rawValue) ≤ \(value) on \(counted(nodes, "node"))"
    case .lowerAll(let amounts, let nodes):
      let limits = Resource.allCases.map { "\($0.rawValue) ≤ \(amounts[$0])" }
      return "with \(limits.joined(separator: ", ")) on \(counted(nodes, "node"))"
    case .drop(_, let requirement, let nodes, let alternatives):
      let text = "without the requirement \"\(requirement)\" on \(counted(nodes, "node"))"
      let values = alternatives.map { "\($0.value): \($0.nodes)" }
      return values.isEmpty ? text : text + " (\(values.joined(separator: ", ")))"
    case .whenReady(let nodes):
      return "on \(counted(nodes, "node")) not taking new virtual machines now"
    }
  }

  /// The request with this change made. ``whenReady(nodes:)`` changes nothing.
  public func applied(to request: PlacementRequest) -> PlacementRequest {
    var request = request
    switch self {
    case .lower(let resource, _, let value, _): request.need[resource] = value
    case .lowerAll(let amounts, _): request.need = amounts
    case .drop(let constraint, _, _, _): request.drop(constraint)
    case .whenReady: break
    }
    return request
  }
}

extension PlacementRequest {
  fileprivate mutating func drop(_ constraint: Constraint) {
    switch constraint {
    case .state: break
    case .node: node = nil
    case .excluded: excluded = []
    case .storagePool: storage = nil
    case .zone: zone = nil
    case .pool: pool = nil
    case .architecture: architecture = nil
    case .accelerator: accelerator = .any
    case .cpuModel: cpuModel = nil
    case .networks: needsNetworks = false
    case .volumes: (pinned, storagePools) = ([], [])
    case .label(let key, _): nodeSelector[key] = nil
    case .affinity: affinity = []
    case .antiAffinity: antiAffinity = []
    case .resource(let resource): need[resource] = 0
    }
  }
}

func counted(_ count: Int, _ noun: String) -> String { count == 1 ? "1 \(noun)" : "\(count) \(noun)s" }
