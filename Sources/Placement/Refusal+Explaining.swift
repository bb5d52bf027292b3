import FoundationEssentials

extension Refusal {
  /// Counts what each filter took out and looks for the smallest change that would make the request fit.
  static func explaining(
    _ request: PlacementRequest, _ filters: [any Filter], in inventory: Inventory
  ) -> Refusal {
    var removals: [Removal] = []
    var left = inventory.present
    var before = left.count
    for filter in filters {
      filter.narrow(&left, in: inventory)
      let after = left.count
      if after < before {
        removals.append(
          Removal(constraint: filter.constraint, requirement: filter.requirement, nodes: before - after))
      }
      before = after
    }
    let search = SuggestionSearch(request: request, filters: filters, inventory: inventory)
    return Refusal(totalNodes: inventory.count, removals: removals, suggestions: search.suggestions())
  }
}

/// Finds the changes that make a refused request fit, one constraint at a time.
private struct SuggestionSearch {
  let request: PlacementRequest
  let filters: [any Filter]
  let inventory: Inventory

  func suggestions() -> [Suggestion] {
    var lowered: [(cost: Double, suggestion: Suggestion)] = []
    var others: [Suggestion] = []
    let withoutEach = nodesPassingAllButEach()
    for (filter, nodes) in zip(filters, withoutEach) where !nodes.isEmpty {
      switch filter.constraint {
      case .state: others.append(.whenReady(nodes: nodes.count))
      case .resource(let resource):
        if let lower = lowering(resource, among: nodes) { lowered.append(lower) }
      default:
        others.append(
          .drop(
            filter.constraint, requirement: filter.requirement, nodes: nodes.count,
            alternatives: alternatives(to: filter.constraint, among: nodes)))
      }
    }
    if lowered.isEmpty, let all = loweringAll() { others.insert(all, at: 0) }
    return lowered.sorted { $0.cost < $1.cost }.map(\.suggestion) + others
  }

  /// For each filter, the nodes that pass all the others.
  private func nodesPassingAllButEach() -> [SlotSet] {
    let passing = filters.map { filter in
      var nodes = inventory.present
      filter.narrow(&nodes, in: inventory)
      return nodes
    }
    return filters.indices.map { left in
      passing.indices.reduce(into: inventory.present) { nodes, index in
        if index != left { nodes.formIntersection(passing[index]) }
      }
    }
  }

  private func lowering(_ resource: Resource, among nodes: SlotSet) -> (cost: Double, suggestion: Suggestion)? {
    let column = inventory.freeColumn(resource)
    var best = 0
    nodes.forEach { best = max(best, column[$0]) }
    let wanted = max(0, request.need[resource])
    guard best > 0, best < wanted else { return nil }
    var fitting = nodes
    fitting.keep(whereAtLeast: best, in: column)
    return (
      Double(wanted - best) / Double(wanted), .lower(resource, from: wanted, to: best, nodes: fitting.count)
    )
  }

  /// When more than one resource is short everywhere: the node that comes nearest says what would fit.
  private func loweringAll() -> Suggestion? {
    var nodes = inventory.present
    for filter in filters {
      if case .resource = filter.constraint { continue }
      filter.narrow(&nodes, in: inventory)
    }
    var nearest: (share: Double, amounts: Capacity)?
    nodes.forEach { slot in
      var amounts = Capacity()
      var share = 1.0
      for resource in Resource.allCases {
        let wanted = max(0, request.need[resource])
        amounts[resource] = min(wanted, max(0, inventory.freeColumn(resource)[slot]))
        if wanted > 0 { share *= Double(amounts[resource]) / Double(wanted) }
      }
      if share > nearest?.share ?? 0 { nearest = (share, amounts) }
    }
    guard let amounts = nearest?.amounts, amounts != request.need else { return nil }
    for resource in Resource.allCases {
      nodes.keep(whereAtLeast: amounts[resource], in: inventory.freeColumn(resource))
    }
    return nodes.isEmpty ? nil : .lowerAll(to: amounts, nodes: nodes.count)
  }

  private func alternatives(to constraint: Constraint, among nodes: SlotSet) -> [Suggestion.Alternative] {
    let sets: [(value: String, slots: SlotSet)] =
      switch constraint {
      case .zone: inventory.zones.map { ($0.key, $0.value) }
      case .architecture: inventory.architectures.map { ($0.key, $0.value) }
      default: []
      }
    let counts = sets.map { value, slots in
      var shared = nodes
      shared.formIntersection(slots)
      return Suggestion.Alternative(value: value, nodes: shared.count)
    }
    return Array(
      counts.filter { $0.nodes > 0 }
        .sorted { $0.nodes != $1.nodes ? $0.nodes > $1.nodes : $0.value < $1.value }
        .prefix(3))
  }
}
